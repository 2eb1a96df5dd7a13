"""What each key of the configuration means: from the schema itself, never written twice.

The text under a field of ``supervisor/config.py`` is its documentation; type, bounds and default
come from the annotation, the effect of a reload from ``supervisor/reload.py``.
"""

from __future__ import annotations

import ast
import inspect
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec
from msgspec import inspect as types

from feedd.supervisor import config as schema
from feedd.supervisor.config import Config
from feedd.supervisor.reload import Effect, effect_of
from feedd.toml_lint import expected_text

__all__ = ["Key", "explain", "keys", "markdown"]


@dataclass(frozen=True)
class Key:
    """One key; ``name`` is dotted, ``<name>`` stands for a venue."""

    name: str
    form: str
    default: str
    text: str
    effect: Effect | None
    """None for a table."""


@cache
def _texts() -> dict[tuple[str, str], str]:
    """(class, field) -> the string under it; (class, "") -> the class's own."""
    out: dict[tuple[str, str], str] = {}
    for node in ast.parse(inspect.getsource(schema)).body:
        if not isinstance(node, ast.ClassDef):
            continue
        out[node.name, ""] = ast.get_docstring(node) or ""
        for field, after in zip(node.body, node.body[1:], strict=False):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(after, ast.Expr)
                and isinstance(after.value, ast.Constant)
                and isinstance(after.value.value, str)
            ):
                out[node.name, field.target.id] = inspect.cleandoc(after.value.value)
    return out


def _default(field: types.Field) -> str:
    if field.required:
        return "required"
    value = field.default
    if value is msgspec.NODEFAULT:
        value = field.default_factory() if callable(field.default_factory) else None
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple | list):
        return "[]" if not value else str(list(value))
    return "{}" if isinstance(value, dict) else str(value)


def _structs(kind: types.Type) -> tuple[types.StructType | None, bool]:
    """The struct of a field, and whether it is one of many by name."""
    while isinstance(kind, types.Metadata):
        kind = kind.type
    if isinstance(kind, types.StructType):
        return kind, False
    if isinstance(kind, types.DictType):
        inner, _ = _structs(kind.value_type)
        return inner, inner is not None
    return None, False


def keys() -> list[Key]:
    """All keys, each table before what is in it."""
    out: list[Key] = []

    def walk(prefix: str, kind: types.StructType) -> None:
        owner: Any = kind.cls
        for field in kind.fields:
            name = f"{prefix}{field.encode_name}"
            text = _texts().get((owner.__name__, field.name), "")
            inner, many = _structs(field.type)
            if inner is None:
                form = expected_text(field.type)
                out.append(Key(name, form, _default(field), text, effect_of(name)))
                continue
            name = f"{name}.<name>" if many else name
            inner_class: Any = inner.cls
            about = _texts()[inner_class.__name__, ""]
            out.append(Key(name, "a table", "", about, None))
            walk(f"{name}.", inner)

    root = types.type_info(Config)
    assert isinstance(root, types.StructType)  # noqa: S101 - Config is a struct
    walk("", root)
    return out


def explain(word: str) -> list[Key]:
    """The key, the table with all its keys, or every key with this last part; empty: none."""
    wanted = word.strip(".").split(".")
    if wanted[0] == "venues" and len(wanted) > 1:
        wanted[1] = "<name>"
    name = ".".join(wanted)
    everything = keys()
    exact = [key for key in everything if key.name == name or key.name.startswith(name + ".")]
    return exact or [key for key in everything if key.name.rpartition(".")[2] == word]


_HEAD = """# Configuration

Made from `feedd/supervisor/config.py`: `feedd config explain --markdown`. Do not edit.

One TOML file; unknown keys are errors, and `feedd config check -c FILE` lists every mistake at once
with its line. `conf/feedd.toml` has every key with a comment, `conf/minimal.toml` the least that
works. `feedd config show` prints what is in force with all defaults, `feedd config diff` what a
reload would change.

A reload (`feedd ctl reload`, SIGHUP, `systemctl reload feedd`) takes all of the new file or
nothing: keys marked *live* are taken over without touching a stream, for those marked *readers* the
readers are replaced one after the other while their data flows; when any other key differs,
the reload is refused, says which, and the daemon goes on as it was.
"""


def markdown() -> str:
    lines = [_HEAD]
    for key in keys():
        if key.effect is None:
            lines += [
                f"\n## `[{key.name}]`\n",
                f"{key.text.replace('``', '`')}\n",
                "| key | value | default | reload | meaning |",
                "| --- | --- | --- | --- | --- |",
            ]
        else:
            short = key.name.rpartition(".")[2]
            text = key.text.replace("\n", " ").replace("``", "`").replace("|", "\\|")
            form = key.form.replace("|", "\\|")
            lines.append(f"| `{short}` | {form} | {key.default} | {key.effect} | {text} |")
    return "\n".join(lines) + "\n"
