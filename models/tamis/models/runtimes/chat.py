"""Writes conversations as a model was trained on them, by the chat template it came with.

A template is a program of a checkpoint's author, so it runs in Jinja's sandbox.
"""

from collections.abc import Mapping, Sequence
from typing import NoReturn

from jinja2 import TemplateError, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tamis.models.errors import InputError, ModelError
from tamis.models.runtimes.language import Message


def render(template: str, turns: Sequence[Message], marks: Mapping[str, str]) -> str:
    """A conversation as text, up to where the model is to answer.

    Args:
        template: In Jinja, as checkpoints have it.
        turns: The messages; their texts hold no special tokens.
        marks: What the template may name: ``bos_token``, ``eos_token``.

    Raises:
        InputError: The template refuses the conversation, for example one with a system's turn.
        ModelError: The template is no Jinja.
    """
    room = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    room.globals["raise_exception"] = _refuse
    told = [{"role": turn.role, "content": turn.text} for turn in turns]
    try:
        compiled = room.from_string(template)
        return compiled.render(messages=told, add_generation_prompt=True, **marks)
    except TemplateSyntaxError as error:
        raise ModelError(f"chat_template: line {error.lineno}: {error.message}") from error
    except TemplateError as error:
        raise InputError(f"the model's chat template refuses the conversation: {error}") from error


def _refuse(message: str) -> NoReturn:
    raise TemplateError(message)
