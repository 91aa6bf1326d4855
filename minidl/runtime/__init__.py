"""The machinery: processes, sockets, clocks and faults. It knows no concept."""
