"""The token estimate that keeps results within a model's budget, compared with a real tokenizer of the o200k family."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Final

import pytest

from deputize.toolkits._shared.page import room_for, text_tokens
from tests.counterparts.test_token_budgets import counted

pytestmark = pytest.mark.counterpart
ROOT: Final = Path(__file__).parents[2]
LETTERS: Final = {
    "ru": "Добрый день! Напоминаю, что встреча по проекту перенесена на четверг. Пожалуйста, подтвердите участие. ",
    "ja": "お世話になっております。先日の打ち合わせの議事録をお送りします。ご確認のうえ、ご連絡ください。",
    "zh": "您好, 附件是上周会议的纪要, 请查收。如果有任何问题或者需要修改的地方, 请在周五之前告诉我。",
    "ko": "안녕하세요. 지난주 회의록을 첨부하였습니다. 확인하시고 금요일까지 알려 주시기 바랍니다. ",
    "fa": "سلام، گزارش جلسهٔ هفتهٔ گذشته را پیوست کرده‌ام. لطفاً بررسی کنید و تا جمعه به من اطلاع دهید. ",
    "ar": "مرحبا، أرسل إليكم محضر اجتماع الأسبوع الماضي. يرجى مراجعته وإبلاغي بأي تعديلات مطلوبة. ",
    "hi": "नमस्ते, पिछले सप्ताह की बैठक का विवरण संलग्न है। कृपया इसे देखें और शुक्रवार तक मुझे बताएं। ",
    "de": "Sehr geehrte Frau Müller, anbei erhalten Sie das Protokoll der gestrigen Besprechung. Bitte prüfen Sie es. ",
    "pl": "Dzień dobry, w załączeniu przesyłam notatkę z wczorajszego spotkania. Proszę o sprawdzenie do piątku. ",
    "el": "Καλημέρα σας, επισυνάπτω τα πρακτικά της χθεσινής συνάντησης. Παρακαλώ ελέγξτε τα. ",
    "emoji": "Great 🎉🎉 job team 👩‍💻👍🏽 let's ship 🚀 it today ✅❌ 🔥💯 ",
}


def as_handed_on(text: str) -> str:
    """Return the text as JSON, which writes line ends as two characters."""
    return json.dumps(text, ensure_ascii=False)


def ids(n: int) -> list[str]:
    return [hashlib.sha256(str(one).encode()).hexdigest() for one in range(n)]


def samples() -> dict[str, str]:
    """Return texts as tools return them, by kind."""
    page = (ROOT / "docs" / "toolkits.md").read_text(encoding="utf-8")
    words = (ROOT / "LICENSE").read_text(encoding="utf-8").split()
    listed = [
        {
            "id": one[:16],
            "thread": one[16:32],
            "from": f"Bob <bob{n}@example.test>",
            "text": " ".join(words[n : n + 25]),
        }
        for n, one in enumerate(ids(60))
    ]
    return {name: text * 20 for name, text in LETTERS.items()} | {
        "rows": " ".join(map(str, listed)),
        "page": page[:8000],
        "english": " ".join(words[:1200]),
        "code": (ROOT / "core/deputize/core/base_deputy.py").read_text(encoding="utf-8")[:8000],
        "base64": base64.b64encode(bytes.fromhex("".join(ids(40)))).decode(),
        "short lines": "障害報告です\n" * 400,
        "csv": "\n".join(f"{n * 7919},{words[n]},{n * 3.17:.2f},2026-08-1{n % 9}" for n in range(200)),
    }


def test_token_estimate_is_rarely_below_and_never_far_above_the_count() -> None:
    texts = samples()
    for (name, text), count in zip(texts.items(), counted([*map(as_handed_on, texts.values())]), strict=True):
        assert 0.93 < text_tokens(text) / count < 1.6, (name, text_tokens(text), count)


def test_text_part_fits_its_budget_and_uses_most_of_it() -> None:
    texts = {name: text * 30 for name, text in samples().items()}
    pieces = [text.encode()[: room_for(text, 0, 3_400)].decode(errors="ignore") for text in texts.values()]
    for name, count in zip(texts, counted([*map(as_handed_on, pieces)]), strict=True):
        assert 2_000 < count < 3_650, (name, count)


def test_room_covers_a_short_text_and_counts_from_its_start() -> None:
    assert room_for("short", 0, 3_400) == 5 and room_for("short", 3, 3_400) == 2 and room_for("", 0, 10) == 0
    assert room_for("a" * 90 + "界" * 90, 90, 40) <= 150
