"""How fast and how large: `python -m benchmarks` measures Sealdesk on this machine, `make bench` does the same.

- `crypto_figures`: the operations of a group, in this process (`groups` makes the groups);
- `server_figures`: messages through the real server, each of server, database and load in processes of their own
  (`serve` is the server, `load` the clients' side, `sockets` one client's stream);
- `client_figures`: two people with the whole client library, each in a process of its own (`talk`);
- `machine`: what it ran on; `report`: how the figures are written down; `timing`: the clock.

Figures of one machine and one run compare with each other. They are never a test: no test asserts a time.
"""
