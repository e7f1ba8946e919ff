"""`bus demo`: nodes with caches over one database, kept right by the bus, and the ledger of it.

command       what is typed: arguments, exit codes
systems       what it runs on, and the server that is started for it
host          the course of a run: open, write, kill, settle, gather
nodes         one node as the host sees it: a process, or a task of this process
process       main of a node process
member        one node: writers, readers, the handler of the bus
cache         the local cache, and the judge of what it returns
receipts      what a node took from the bus, in a file that survives its SIGKILL
database      the SQLite file: rows, versions, the journal of what was published
distributions the real input: metadata and file lists of Python distributions
ledger        pure: journals and receipts in, balance out
table         what is shown meanwhile, and at the end
"""
