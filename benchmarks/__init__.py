"""How fast and how large: `python -m benchmarks` measures Sealdesk on this machine, `make bench` does the same.

- `crypto_figures`: the operations of a group, in this process, ours and those of the peers in `libraries` in turns
  (`groups` makes the groups, `group_figures` times what depends on their size, `memory` counts what they hold,
  `primitives` says how far down one could come);
- `server_figures`: messages through the real server, each of server, database and load in processes of their own
  (`serve` is the server, `load` the clients' side, `sockets` one client's stream);
- `client_figures`: two people with the whole client library, each in a process of its own (`talk`);
- `machine`: what it ran on; `timing`: the clock; `report`, `crypto_report`, `chart`, `tables`: how figures are shown.

Figures of one machine and one run compare with each other. They are never a test: no test asserts a time.
"""
