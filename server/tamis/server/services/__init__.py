"""The services of `tamis.v1`, one file each: messages in, messages out, and nothing else."""
