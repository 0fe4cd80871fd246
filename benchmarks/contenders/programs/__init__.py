"""The processes of the comparison. Those of the others run in an environment of their own and know nothing of ours."""
