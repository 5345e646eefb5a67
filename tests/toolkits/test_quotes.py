# ruff: noqa: RUF001 - the words of other languages
"""Quoted history in plain text."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deputize.toolkits._shared.mail.quotes import plain_lines, without_history
from tests.support.lanes import examples


@pytest.mark.parametrize(
    "history",
    [
        "> old\n> older",
        "On Mon, 2 Nov 2026 at 10:00, Bob <bob@example.test> wrote:\n> old",
        "On Mon, 2 Nov 2026 at 10:00, Bob\n<bob@example.test> wrote:\n\n> old\n>\n> older",
        "On Mon, 2 Nov 2026 at 10:00, Bob <bob@example.test> wrote:\nold without marks",
        "Am 02.11.2026 um 10:00 schrieb Bob:\n> old",
        "Le lun. 2 nov. 2026 à 10:00, Bob a écrit :\n> old",
        "El lun, 2 nov 2026 a las 10:00, Bob escribió:\n> old",
        "Em seg., 2 de nov. de 2026, Bob escreveu:\n> old",
        "Il giorno lun 2 nov 2026 Bob ha scritto:\n> old",
        "Op ma 2 nov. 2026 om 10:00 schreef Bob:\n> old",
        "Den mån 2 nov. 2026 skrev Bob:\n> old",
        "W dniu 2.11.2026 Bob napisał(a):\n> old",
        "2 ноября 2026 г., Bob <bob@example.test> написал(а):\n> old",
        "2026年11月2日 Bob <bob@example.test> 写道：\n> old",
        "-----Original Message-----\nFrom: Bob\nold",
        "-----Ursprüngliche Nachricht-----\nVon: Bob\nold",
        "---- Message d'origine ----\nold",
        "सोम, 2 नव॰ 2026 को 10:00 am बजे को Bob <bob@example.test> ने लिखा:\n> old",
        "في الاثنين، 2 نوفمبر 2026 في 10:00 ص تمت كتابة ما يلي بواسطة Bob <bob@example.test>:\n> old",
        "2026年11月2日(月) 10:00 Bob <bob@example.test>:\n> old",
        "Ma 2.11.2026 klo 10.00 Bob <bob@example.test> jotain uutta:\n> old",
        "From: Bob <bob@example.test>\nSent: Monday, 2 November 2026 10:00\nTo: Alice\nSubject: Plan\n\nold",
        "*From:* Bob\n*Sent:* Monday\n*To:* Alice\n*Subject:* Plan\n\nold",
        "________________________________\nVon: Bob\nGesendet: Montag\nAn: Alice\nCc: C\nBetreff: Plan\n\nold",
        "De : Bob\nEnvoyé : lundi\nÀ : Alice\nObjet : Plan\n\nold",
        "De: Bob\nEnviado el: lunes\nPara: Alice\nAsunto: Plan\n\nold",
        "От: Bob\nОтправлено: понедельник\nКому: Alice\nТема: План\n\nold",
        "差出人: Bob\n送信日時: 2026年11月2日\n宛先: Alice\n件名: 計画\n\nold",
        "发件人: Bob\n发送时间: 2026年11月2日\n收件人: Alice\n主题: 计划\n\nold",
        "من: Bob\nتاريخ الإرسال: الاثنين\nإلى: Alice\nالموضوع: خطة\n\nold",
        "प्रेषक: Bob\nभेजा गया: सोमवार\nप्रति: Alice\nविषय: योजना\n\nold",
        "Från: Bob\nSkickat: den 2 november\nTill: Alice\nÄmne: Plan\n\nold",
    ],
)
def test_history_at_the_end_is_cut_and_its_length_reported(history: str) -> None:
    own, cut = without_history(plain_lines(f"My answer.\n-- \nAlice\n\n{history}\n"))
    assert own == "My answer.\n--\nAlice"
    assert cut == len(history)


@pytest.mark.parametrize("footer", [f"{'_' * 47}\nroofs mailing list -- roofs@lists.test", "-- \nAlice"])
def test_list_footer_or_signature_is_not_an_answer(footer: str) -> None:
    assert without_history(plain_lines(f"My answer.\n\n> old\n\n{footer}"))[0] == "My answer."
    assert without_history(plain_lines(f"My answer.\n\n> old\n\nNo.\n{footer}"))[1] == 0


@pytest.mark.parametrize(
    "text",
    [
        "> question\nanswer\n> question two\nanswer two",
        "> question\nanswer",
        "Intro\n> question\nanswer",
        "On Monday Bob wrote:\nthe following, and I agree.",
        "On 2 Nov I wrote: nothing.",
        "a > b\nand c",
        "-----Original Message----- was the subject",
        "> nothing but quote",
        "fyi\n\n---------- Forwarded message ---------\nFrom: Bob",
        "fyi\n\n-------- Weitergeleitete Nachricht --------\nVon: Bob\nDatum: heute\nBetreff: Plan\n\nold",
        "fyi\n\nAnfang der weitergeleiteten Nachricht:\n\n> Von: Bob\n> Betreff: Plan",
        "From: Berlin\nTo: Paris\nby train",
        "From: Bob\n\nSent: yes\n\nSubject: none",
        "Route 7 <info@example.test>:\nis closed.",
        "",
        "\n\n",
    ],
)
def test_inline_answers_and_lookalike_marks_stay(text: str) -> None:
    assert without_history(plain_lines(text)) == (text.strip("\n"), 0)


def test_forwarded_mail_keeps_what_it_forwards() -> None:
    text = "fyi\n\nFrom: Bob\nSent: Monday\nTo: Alice\nSubject: Plan\n\nold"
    assert without_history(plain_lines(text))[0] == "fyi"
    assert without_history(plain_lines(text), passed_on=True) == (text, 0)


@settings(max_examples=examples(300), deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                "",
                ">",
                "> q",
                "own",
                "On 1/1/26 b@x.test wrote:",
                "-----Original Message-----",
                "On a",
                "From: a",
                "Subject: b",
                "To: c",
            ]
        )
    )
)
def test_kept_text_is_the_beginning_of_the_mail(lines: list[str]) -> None:
    text = "\n".join(lines)
    own, cut = without_history(plain_lines(text))
    assert text.strip("\n").startswith(own)
    assert (cut == 0) == (own == text.strip("\n")) or not text[len(own) :].strip()


@pytest.mark.parametrize("line", ["On ", "On a wrote", "> x", "w" * 300, "On 1 b@x.test wrote:", "", "Le a:"])
def test_many_lines_are_processed_quickly(line: str) -> None:
    lines = plain_lines(f"{line}\n" * 20_000)
    began = time.process_time()
    without_history(lines)
    assert time.process_time() - began < 5
