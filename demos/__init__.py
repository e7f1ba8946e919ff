"""The compose demo: three nodes and a broker in containers, a story with faults, and the ledger.

traffic      the application of a node: events on demand, and the tally of what came
tally        what one node took from each other one
credentials  the secrets, made once per volume
verify       plays the story on a Docker engine and ends with the ledger
stage        the containers as the story sees them: docker compose, and words to it
ledger       pure: tallies in, balance out
"""
