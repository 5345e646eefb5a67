# ruff: noqa: RUF001, E501 - the words of other languages
"""What people and mail programs write, in eight languages: the same small exchange, in the forms that programs give it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Tongue:
    """One language. ``head``: From, Sent, To, Subject as Outlook calls them, colon included; ``wrote``: Gmail's line above a
    quote, and ``apple``: Apple's, of somebody; ``original``: Outlook's old line; ``charset``: what older programs sent it in."""

    code: str
    name: str
    subject: str
    hello: str
    question: str
    answer: str
    detail: str
    thanks: str
    re: str
    fwd: str
    head: tuple[str, str, str, str]
    sent: str
    wrote: str
    apple: str
    begin_forwarded: str
    forwarded: str
    original: str
    phone: str
    offer: str
    price: str
    button: str
    leave: str
    away: str
    charset: str
    right: bool = False

    @property
    def direction(self) -> str:
        """An attribute for the direction of a text."""
        return ' dir="rtl"' if self.right else ""


BOB: Final = "Bob Berg <bob@example.test>"
TONGUES: Final = (
    Tongue(
        "en",
        "Bob Berg",
        "Offer for the roof",
        "Hello Alice,",
        "did the roofer send his offer?",
        "Yes, it came this morning.",
        "It says 4,200 euros, without the gutter.",
        "Thanks a lot",
        "RE",
        "FW",
        ("From:", "Sent:", "To:", "Subject:"),
        "Monday, 23 November 2026 10:15",
        "On Mon, Nov 23, 2026 at 10:15 AM Bob Berg <bob@example.test> wrote:",
        "On 23 Nov 2026, at 10:15, Bob Berg <bob@example.test> wrote:",
        "Begin forwarded message:",
        "-------- Forwarded Message --------",
        "-----Original Message-----",
        "Sent from my iPhone",
        "Our autumn sale has begun.",
        "Total: $19.90",
        "Reset password",
        "Unsubscribe",
        "I am away until Monday and will answer then.",
        "iso-8859-1",
    ),
    Tongue(
        "de",
        "Björn Größ",
        "Angebot für das Dach",
        "Hallo Alice,",
        "hat der Dachdecker sein Angebot geschickt?",
        "Ja, es kam heute früh.",
        "Es sind 4.200 € ohne die Regenrinne.",
        "Vielen Dank",
        "AW",
        "WG",
        ("Von:", "Gesendet:", "An:", "Betreff:"),
        "Montag, 23. November 2026 10:15",
        "Am Mo., 23. Nov. 2026 um 10:15 Uhr schrieb Bob Berg <bob@example.test>:",
        "Am 23.11.2026 um 10:15 schrieb Bob Berg <bob@example.test>:",
        "Anfang der weitergeleiteten Nachricht:",
        "-------- Weitergeleitete Nachricht --------",
        "-----Ursprüngliche Nachricht-----",
        "Von meinem iPhone gesendet",
        "Der Herbst beginnt: Größe und Maß für alle.",
        "Summe: 19,90 €",
        "Passwort zurücksetzen",
        "Abmelden",
        "Ich bin bis Montag nicht da und antworte danach.",
        "windows-1252",
    ),
    Tongue(
        "fr",
        "Béatrice Côté",
        "Devis pour le toit",
        "Bonjour Alice,",
        "le couvreur a-t-il envoyé son devis ?",
        "Oui, il est arrivé ce matin.",
        "Il s’élève à 4 200 €, sans la gouttière.",
        "Merci beaucoup",
        "RE",
        "TR",
        ("De :", "Envoyé :", "À :", "Objet :"),
        "lundi 23 novembre 2026 10:15",
        "Le lun. 23 nov. 2026 à 10:15, Bob Berg <bob@example.test> a écrit :",
        "Le 23 nov. 2026 à 10:15, Bob Berg <bob@example.test> a écrit :",
        "Début du message transféré :",
        "-------- Message transféré --------",
        "-----Message d'origine-----",
        "Envoyé de mon iPhone",
        "Découvrez l’été à prix réduit.",
        "Total : 19,90 €",
        "Réinitialiser le mot de passe",
        "Se désabonner",
        "Je suis absente jusqu’à lundi et répondrai ensuite.",
        "windows-1252",
    ),
    Tongue(
        "es",
        "Begoña Muñoz",
        "Oferta para el tejado",
        "Hola, Alicia:",
        "¿ha enviado el techador su oferta?",
        "Sí, llegó esta mañana.",
        "Son 4200 €, sin el canalón.",
        "Muchas gracias",
        "RE",
        "RV",
        ("De:", "Enviado el:", "Para:", "Asunto:"),
        "lunes, 23 de noviembre de 2026 10:15",
        "El lun, 23 nov 2026 a las 10:15, Bob Berg (<bob@example.test>) escribió:",
        "El 23 nov 2026, a las 10:15, Bob Berg <bob@example.test> escribió:",
        "Inicio del mensaje reenviado:",
        "-------- Mensaje reenviado --------",
        "-----Mensaje original-----",
        "Enviado desde mi iPhone",
        "¡Empieza la rebaja de otoño!",
        "Total: 19,90 €",
        "Restablecer contraseña",
        "Darse de baja",
        "Estoy fuera hasta el lunes y responderé después.",
        "iso-8859-15",
    ),
    Tongue(
        "ru",
        "Борис Берг",
        "Смета на крышу",
        "Здравствуйте, Алиса!",
        "Кровельщик прислал смету?",
        "Да, пришла сегодня утром.",
        "Там 4200 евро без водостока.",
        "Большое спасибо",
        "RE",
        "FW",
        ("От:", "Отправлено:", "Кому:", "Тема:"),
        "23 ноября 2026 г. 10:15",
        "пн, 23 нояб. 2026 г. в 10:15, Bob Berg <bob@example.test>:",
        "23 нояб. 2026 г., в 10:15, Bob Berg <bob@example.test> написал(а):",
        "Начало переадресованного сообщения:",
        "-------- Перенаправленное сообщение --------",
        "-----Исходное сообщение-----",
        "Отправлено с iPhone",
        "Осенняя распродажа началась.",
        "Итого: 1990 ₽",
        "Сбросить пароль",
        "Отписаться",
        "Меня нет до понедельника, отвечу потом.",
        "koi8-r",
    ),
    Tongue(
        "ja",
        "青木 文",
        "屋根の見積もり",
        "アリス様",
        "屋根屋さんから見積もりは届きましたか。",
        "はい、今朝届きました。",
        "雨どいを除いて4,200ユーロです。",
        "ありがとうございます",
        "RE",
        "FW",
        ("差出人:", "送信日時:", "宛先:", "件名:"),
        "2026年11月23日月曜日 10:15",
        "2026年11月23日(月) 10:15 Bob Berg <bob@example.test>:",
        "2026/11/23 10:15、Bob Berg <bob@example.test>のメール:",
        "転送されたメッセージ：",
        "-------- 転送メッセージ --------",
        "-----元のメッセージ-----",
        "iPhoneから送信",
        "秋のセールが始まりました。",
        "合計：1,990円",
        "パスワードを再設定",
        "配信停止",
        "月曜日まで不在です。戻りましたら返信いたします。",
        "iso-2022-jp",
    ),
    Tongue(
        "ar",
        "بسام بيرغ",
        "عرض السقف",
        "مرحباً أليس،",
        "هل أرسل عامل السقف عرضه؟",
        "نعم، وصل هذا الصباح.",
        "المبلغ ٤٢٠٠ يورو بدون المزراب.",
        "شكراً جزيلاً",
        "رد",
        "إعادة توجيه",
        ("من:", "تاريخ الإرسال:", "إلى:", "الموضوع:"),
        "الاثنين، ٢٣ نوفمبر ٢٠٢٦ ١٠:١٥",
        "في الاثنين، 23 نوفمبر 2026 في 10:15 ص تمت كتابة ما يلي بواسطة Bob Berg <bob@example.test>:",
        "في ٢٣ نوفمبر ٢٠٢٦، الساعة 10:15، كتب Bob Berg <bob@example.test>:",
        "بدء الرسالة التي أعيد توجيهها:",
        "-------- رسالة معاد توجيهها --------",
        "-----الرسالة الأصلية-----",
        "أُرسلت من الـ iPhone",
        "بدأت تخفيضات الخريف.",
        "المجموع: ١٩٫٩٠",
        "إعادة تعيين كلمة المرور",
        "إلغاء الاشتراك",
        "أنا غائبة حتى الاثنين وسأرد بعد ذلك.",
        "windows-1256",
        right=True,
    ),
    Tongue(
        "hi",
        "भरत बर्ग",
        "छत का कोटेशन",
        "नमस्ते ऐलिस,",
        "क्या छत वाले ने अपना कोटेशन भेजा?",
        "हाँ, आज सुबह आया।",
        "बिना नाली के 4,200 यूरो है।",
        "बहुत धन्यवाद",
        "RE",
        "FW",
        ("प्रेषक:", "भेजा गया:", "प्रति:", "विषय:"),
        "सोमवार, 23 नवंबर 2026 10:15",
        "सोम, 23 नव॰ 2026 को 10:15 am बजे को Bob Berg <bob@example.test> ने लिखा:",
        "23 नव॰ 2026 को 10:15 बजे, Bob Berg <bob@example.test> ने लिखा:",
        "अग्रेषित संदेश का आरंभ:",
        "-------- अग्रेषित संदेश --------",
        "-----मूल संदेश-----",
        "मेरे iPhone से भेजा गया",
        "शरद ऋतु की सेल शुरू हो गई है।",
        "कुल: ₹1990",
        "पासवर्ड रीसेट करें",
        "सदस्यता समाप्त करें",
        "मैं सोमवार तक बाहर हूँ और बाद में उत्तर दूँगी।",
        "utf-8",
    ),
)
