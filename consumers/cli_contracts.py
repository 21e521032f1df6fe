"""The commands about contracts: what is on the topics, as schemas for other programs."""

from __future__ import annotations

from pathlib import Path

import click


@click.group()
def contracts() -> None:
    """What is on the topics, for other programs: an AsyncAPI document and JSON Schemas."""


@contracts.command("show")
@click.argument("name", required=False)
def contracts_show(name: str | None) -> None:
    """Print the contract NAME: a file's, or the schema of one type such as Fill.

    Without NAME the files are listed. They stand in docs/contracts too.
    """
    from producers import contracts as files

    if name is None:
        for path in files.texts():
            click.echo(path)
        return
    text = files.text_of(name)
    if text is None:
        near = files.near(name)
        hint = f"; did you mean {near}?" if near else "; `liquidator contracts show` lists them"
        raise click.ClickException(f"contract {name}: there is none{hint}")
    click.echo(text, nl=False)


@contracts.command("write")
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
def contracts_write(directory: Path) -> None:
    """Write every contract into DIRECTORY: asyncapi.yaml, and schemas/ beside it.

    The project's own are written by `liquidator contracts write docs/contracts`.
    """
    from producers import contracts as files

    for path, text in files.texts().items():
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    click.echo(f"{len(files.texts())} files in {directory}", err=True)
