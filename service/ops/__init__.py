"""What operators see. Nothing here writes to the store.

`queries` reads the keys into views (the routes `/v1/ops/*` answer with the same ones); `facts` are what the
server says of itself, `doctor` judges them. `audit` walks all keys, reads them (`audit_reads`) and holds them against
the laws (`audit_laws`). The commands: `views` registers them, `client_views` holds
those that are clients of the service (`sending`, `tailing`), `store_views` those that read the server
(found by `reach`); `show` and `answers` are their output and their errors.
"""
