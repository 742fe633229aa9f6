"""The same workloads in flowlib, in plain Python and in its peers: one module each, `on_<peer>.py`.

A module defines `REQUIRES`, what pip installs for it (the first is the peer itself), and those workloads that the peer can
express, all of the form `workload(n, directory)`. Each does everything a user of that peer would: it describes the work,
runs it, keeps results in `directory` if it is a caching workload, and returns the answer, which is checked.

| function | work | n |
|---|---|---|
| `flat` | n times `inc(i)`, then one `total`; nothing kept | tasks |
| `chain` | n times `inc`, each of the one before; nothing kept | tasks |
| `layers` | layers of 100 tasks, each on two or three of the layer above, then one `total`; nothing kept | tasks |
| `cached` | as `flat`, every result kept, every result asked for | tasks |
| `final` | as `cached`, where only the total is asked for | tasks |
| `chain_cached` | as `chain`, every result kept | tasks |
| `arrays` | n arrays of 1 MB, kept, and the sum of their sums | arrays |
| `array` | one array, kept, and a look at each of its pages | MB |
| `waits` | n waits of 0.1 s on 8 threads | waits |
| `unbalanced` | a (0.1 s) -> b (0.3 s) and c (0.3 s) -> d (0.1 s), then a join | - |
| `start_up` | n new processes that import it and end | processes |
| `ready` | as `start_up`, and what every program names is loaded | processes |

`start(directory)` and `stop()`, where they exist, are a server's or a cluster's, and are not timed. Modules import only the
standard library at the top and their peer inside functions, unless nothing works without it.
"""
