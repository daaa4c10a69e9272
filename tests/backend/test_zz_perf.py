import time, asyncio
from tests.backend.people import *
async def test_perf(shared_server):
    async with people(shared_server, 8) as ds:
        chats=[await d.create_chat() for d in ds]
        N=6000
        async def run(d,c):
            async with d.stream() as s:
                sent=0; acked=0
                while acked<N:
                    while sent-acked<400 and sent<N:
                        await s.send(*(send_request(c,0,ciphertext=bytes(1200)) for _ in range(50))); sent+=50
                    f=await s.next()
                    if isinstance(f, frames.Accepted): acked+=1
        t=time.time(); await asyncio.gather(*(run(d,c) for d,c in zip(ds,chats))); dt=time.time()-t
        print("msg/s", 8*N/dt)
        p=shared_server.process.pid
        print(open(f"/proc/{p}/stat").read().split()[13:15])
