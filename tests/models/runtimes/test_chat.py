"""Chat templates, against transformers' own rendering where it has one."""

import pytest
import tiny_models

from tamis.models.errors import InputError, ModelError
from tamis.models.runtimes.chat import render
from tamis.models.runtimes.language import Message

TURNS = [Message("user", "what?"), Message("assistant", " it\n"), Message("user", "<b> & {{x}}")]
MARKED = """
{%- for m in messages %}
    {%- if loop.first %}
        {{- bos_token }}
    {%- endif %}
[{{ m.role }}] {{ m['content'] | trim }}
    {% if m.role == 'never' %}
        {% break %}
    {% endif %}
{%- endfor %}
{% if add_generation_prompt %}
[{{ eos_token }}]
{% endif %}
"""


@pytest.mark.parametrize("template", [tiny_models.CHAT, MARKED])
def test_a_conversation_is_what_transformers_makes_of_it(template: str) -> None:
    tokenizer = tiny_models.tokenizer()
    tokenizer.chat_template = template
    told = [{"role": turn.role, "content": turn.text} for turn in TURNS]
    expected = tokenizer.apply_chat_template(told, tokenize=False, add_generation_prompt=True)
    assert render(template, TURNS, {"bos_token": "<s>", "eos_token": "</s>"}) == expected


def test_a_template_may_refuse_a_conversation() -> None:
    template = "{{ raise_exception('no system role') }}"
    with pytest.raises(InputError, match="refuses the conversation: no system role"):
        render(template, TURNS, {})


@pytest.mark.parametrize(
    ("template", "error", "message"),
    [
        ("{% if %}", ModelError, "chat_template: line 1"),
        ("{{ messages.__class__.__mro__ }}", InputError, "unsafe"),
        ("{{ messages.append(1) }}", InputError, "unsafe|not safely callable"),
    ],
)
def test_a_template_is_held_in_the_sandbox(
    template: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        render(template, TURNS, {})
