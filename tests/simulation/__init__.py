"""The whole server in one process under virtual time: one seed decides everything that goes wrong, and when."""
