"""``feedd completion``: what makes a shell complete commands, options and instrument names."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from feedd.errors import FeeddError

__all__ = ["completion"]


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what makes SHELL complete feedd's commands, options and instrument names.

    \b
    bash  eval "$(feedd completion bash)"     in ~/.bashrc
    zsh   eval "$(feedd completion zsh)"      in ~/.zshrc
    fish  feedd completion fish > ~/.config/fish/completions/feedd.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise FeeddError(f"click knows no completion for {shell}")
    click.echo(kind(ctx.find_root().command, {}, "feedd", "_FEEDD_COMPLETE").source())
