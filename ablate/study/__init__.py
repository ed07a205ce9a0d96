"""The study file: what may be said in it, how it is read, and the runs it means."""
