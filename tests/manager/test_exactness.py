"""How close counts are: exact where `docs/contexts.md` says so, and within its table where they are estimates."""

from __future__ import annotations

import base64
import gzip
import hashlib
import importlib.util
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from session_continuity import CountingRule, SessionManager, estimate_tokens
from session_continuity.context.images import claude_image, gemini_image, openai_patches, openai_tiles

TEXTS = {
    "English": "Why was I charged twice for the same invoice last month? I have written to your colleagues already, "
    "and nobody has answered. Please refund the difference and confirm it in writing.",
    "German": "Warum wurde mir die Rechnung im letzten Monat zweimal abgebucht? Ich habe Ihren Kollegen bereits "
    "geschrieben, aber niemand hat geantwortet. Bitte erstatten Sie den Unterschied.",
    "Polish": "Dlaczego w zeszłym miesiącu obciążono mnie dwukrotnie za tę samą fakturę? Proszę o zwrot różnicy.",
    "Russian": "Почему в прошлом месяце с меня дважды списали деньги за один и тот же счёт? Верните разницу.",
    "Arabic": "لماذا تم خصم المبلغ مرتين لنفس الفاتورة في الشهر الماضي؟ يرجى إعادة الفرق.",
    "Hindi": "पिछले महीने मुझसे एक ही चालान के लिए दो बार शुल्क क्यों लिया गया? कृपया अंतर वापस करें।",
    "Chinese": "为什么上个月同一张发票向我收取了两次费用？我已经写信给你们的同事，但没有人回复。请退还差额。",
    "Japanese": "先月、同じ請求書で二回請求されたのはなぜですか。差額を返金してください。",
    "Korean": "지난달 같은 청구서에 대해 왜 두 번 청구되었나요? 차액을 환불해 주십시오.",
    "emoji": "😀👍🏽🎉 great 👩‍👩‍👧‍👦🇩🇪 ok 🤷🏿‍♀️ 🫠🫡 party 🎂🎈",
    "Python": "def refund(charges: list[Charge]) -> Decimal:\n"
    "    total = sum(c.amount for c in charges if c.is_double)\n    return round(total * Decimal('0.5'), 2)\n",
    "JSON": '{"order":1042,"items":[{"sku":"A-17","price":12.5,"tags":["new","sale"]}],"paid":true,"note":null}',
    "log": "2026-11-30T23:02:50.123Z ERROR [worker-3] com.example.Service: failed (code=E1042, retry=3/5) in 1532ms\n",
    "UUIDs": "7d444840-9dc0-11d1-b245-5ffdce74fad2 1b4e28ba-2fa1-11d2-883f-0016d3cca427",
}
LOWEST, HIGHEST = 0.95, 4.0


@pytest.fixture(scope="module", autouse=True)
def vocabularies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """OpenAI's vocabularies, which travel in the package bpe-openai, where tiktoken looks for them."""
    spec = importlib.util.find_spec("bpe_openai")
    assert spec is not None
    assert spec.origin is not None
    folder = tmp_path_factory.mktemp("vocabularies")
    for name in ("o200k_base", "cl100k_base"):
        address = f"https://openaipublic.blob.core.windows.net/encodings/{name}.tiktoken"
        packed = Path(spec.origin).parent / "data" / f"{name}.tiktoken.gz"
        (folder / hashlib.sha1(address.encode()).hexdigest()).write_bytes(gzip.decompress(packed.read_bytes()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_CACHE_DIR", str(folder))
        yield


def counted(message: dict[str, Any], **options: Any) -> int:
    """The tokens that a manager stores with a message."""
    with SessionManager.open("memory://", **options) as manager:
        return manager.add_message(manager.create_session().id, **message).token_count or 0


@pytest.mark.parametrize("model", ["gpt-4o", "openai/gpt-4o-mini", "gpt-4", "gpt-4.1", "o3"])
@pytest.mark.parametrize("text", TEXTS)
def test_texts_are_exact_for_models_of_openai(model: str, text: str) -> None:
    """By the rule that OpenAI publishes for its chat: three tokens for a message, those of role and content."""
    import tiktoken

    encoding = tiktoken.encoding_for_model(model.rpartition("/")[2])
    expected = 3 + len(encoding.encode("user")) + len(encoding.encode(TEXTS[text]))
    assert counted({"role": "user", "content": TEXTS[text]}, token_counter=model) == expected


def test_the_example_that_openai_publishes_is_counted_as_its_api_counts_it() -> None:
    """The conversation of the cookbook, for which the API returns 129 tokens with gpt-4 and 124 with gpt-4o."""
    translate = "You are a helpful, pattern-following assistant that translates corporate jargon into plain English."
    chat = [
        ("system", None, translate),
        ("system", "example_user", "New synergies will help drive top-line growth."),
        ("system", "example_assistant", "Things working well together will increase revenue."),
        (
            "system",
            "example_user",
            "Let's circle back when we have more bandwidth to touch base on opportunities for increased leverage.",
        ),
        ("system", "example_assistant", "Let's talk later when we're less busy about how to do better."),
        (
            "user",
            None,
            "This late pivot means we don't have time to boil the ocean for the client deliverable.",
        ),
    ]
    for model, expected in (("gpt-4", 129), ("gpt-4o", 124)):
        with SessionManager.open("memory://", token_counter=model) as manager:
            session = manager.create_session()
            for role, name, content in chat:
                metadata = {"annotations": {"openai": {"name": name}}} if name else None
                manager.add_message(session.id, role, content, metadata=metadata)  # type: ignore[arg-type]
            assert manager.get_conversation_context_with_stats(session.id).budget.used == expected


@pytest.mark.parametrize("text", TEXTS)
def test_estimates_lean_high(text: str) -> None:
    import tiktoken

    exact = len(tiktoken.get_encoding("o200k_base").encode(TEXTS[text]))
    assert LOWEST <= estimate_tokens(TEXTS[text]) / exact <= HIGHEST


def test_the_table_of_the_documentation_is_what_is_measured() -> None:
    import tiktoken

    rows: list[str] = []
    for name, text in TEXTS.items():
        exact = [len(tiktoken.get_encoding(vocabulary).encode(text)) for vocabulary in ("o200k_base", "cl100k_base")]
        estimate = estimate_tokens(text)
        errors = " | ".join(f"{estimate / count - 1:+.0%}" for count in exact)
        rows.append(f"| {name} | {exact[0]} | {exact[1]} | {estimate} | {errors} |")
    documentation = (Path(__file__).parents[2] / "docs" / "contexts.md").read_text()
    assert "\n".join(rows) in documentation


@pytest.mark.parametrize("model", ["claude-opus-4-5", "anthropic/claude-sonnet-4", "gemini-2.5-pro"])
def test_models_without_a_public_tokenizer_are_estimated(model: str) -> None:
    text = TEXTS["English"]
    assert counted({"role": "user", "content": text}, token_counter=model) >= estimate_tokens(text) + 4


IMAGES: list[tuple[Any, tuple[int, int], str, int]] = [
    (openai_tiles(85, 170), (1024, 1024), "high", 765),  # OpenAI's examples
    (openai_tiles(85, 170), (2048, 4096), "high", 1105),
    (openai_tiles(85, 170), (4096, 8192), "low", 85),
    (openai_patches(1), (1024, 1024), "", 1024),
    (openai_patches(1), (1800, 2400), "", 1452),
    (claude_image, (200, 200), "", 54),  # Anthropic's examples
    (claude_image, (1000, 1000), "", 1334),
    (claude_image, (1092, 1092), "", 1590),
    (gemini_image, (384, 384), "", 258),
    (gemini_image, (960, 540), "", 6 * 258),  # Google's example: a crop unit of 360, so 3 times 2 tiles
]


@pytest.mark.parametrize(("formula", "size", "detail", "expected"), IMAGES)
def test_images_cost_what_their_providers_publish(
    formula: Any, size: tuple[int, int], detail: str, expected: int
) -> None:
    assert formula(size, detail) == expected
    assert formula(None, detail) >= formula(size, detail)


def png(width: int, height: int) -> str:
    """A PNG of this size, of which only the header is true, and 60 kB more."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", len(header)) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + chunk + bytes(range(256)) * 240).decode()


MEDIA: dict[str, tuple[dict[str, Any], int]] = {
    "OpenAI": ({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{png(1024, 1024)}"}}, 765),
    "OpenAI, low": (
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{png(1024, 1024)}", "detail": "low"}},
        85,
    ),
    "Anthropic": (
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": png(1024, 1024)}},
        765,
    ),
    "Responses": ({"type": "input_image", "image_url": f"data:image/png;base64,{png(1024, 1024)}"}, 765),
    "unknown size": ({"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}, 1105),
}


@pytest.mark.parametrize("case", MEDIA)
def test_an_image_costs_by_its_size_and_never_by_its_base64(case: str) -> None:
    block, expected = MEDIA[case]
    rule = CountingRule(text=len, image=openai_tiles(85, 170))
    limit = expected if case != "unknown size" else 85 + 170 * 8
    assert counted({"role": "user", "content": [block]}, token_counter=rule) == limit + 4


@pytest.mark.parametrize(
    "block",
    [
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "QUJD" * 37_500}},
        {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{'QUJD' * 37_500}"}},
        {"type": "input_audio", "input_audio": {"format": "mp3", "data": "QUJD" * 37_500}},
        {"type": "something", "data": "QUJD" * 37_500},
    ],
)
def test_files_of_100_kb_never_count_as_text(block: dict[str, Any]) -> None:
    assert counted({"role": "user", "content": [block]}) < 6000
    result = {"tool_call_id": "x", "result": [block]}
    assert counted({"role": "tool", "content": "", "metadata": {"tool_results": [result]}}) < 6000
    assert counted({"role": "user", "content": [block]}, file_token_cost=70) < 200


def test_what_is_sent_beside_the_content_counts() -> None:
    annotations = {"openai": {"reasoning_content": "word " * 1000, "refusal": "no " * 1000}}
    message = {"role": "assistant", "content": "hi", "metadata": {"annotations": annotations}}
    assert counted(message) > 2000
    assert counted({"role": "assistant", "content": [{"type": "thinking", "thinking": "word " * 1000}]}) > 1000


def test_a_thousand_short_messages_count_with_their_frames() -> None:
    with SessionManager.open("memory://", token_counter="gpt-4o") as manager:
        session = manager.create_session()
        manager.add_messages(session.id, [{"role": "user", "content": "ok"}] * 1000)
        assert manager.get_session(session.id).token_count == 5000
        assert manager.get_conversation_context_with_stats(session.id).budget.used == 5003
