"""From published weights to graphs that a runtime loads, and the check that they agree.

One file a method, named as the method that serves what it writes. To add one, write the file with
these two functions; nothing else is edited.

    reads(checkpoint: Checkpoint) -> bool
        Whether the checkpoint, by its `config.json` and other files, is one of its kind.
    export(checkpoint: Checkpoint, draft: Draft) -> Recipe
        Writes graphs and files into the draft and returns what `model.toml` is to say; `files` and
        `precision` are filled in by the caller.

`tamis export` and `python -m tamis.models.export` call them through `exporting.export`.
"""
