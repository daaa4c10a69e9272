"""The HTTP routes. A handler parses, authorises, calls one store function and answers; nothing else."""
