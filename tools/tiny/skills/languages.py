"""Greetings and simple sentences in six languages."""
import regex

from words import LANGUAGES

from . import Example, skill, user

CODES = dict(zip(LANGUAGES, ("en", "fr", "es", "de", "it", "pt")))

# What is said: (kind, {language: (prompts, answers)}). {n} is a name.
TALK = {
    "hello": {
        "en": (["Hello!", "Hi there!", "Hello, how are you?", "Good morning!"], ["Hello! How can I help you?"]),
        "fr": (["Bonjour !", "Salut !", "Bonjour, comment ça va ?", "Bonsoir !"], ["Bonjour ! Comment puis-je vous aider ?"]),
        "es": (["¡Hola!", "Hola, ¿cómo estás?", "¡Buenos días!", "¡Buenas tardes!"], ["¡Hola! ¿En qué puedo ayudarte?"]),
        "de": (["Hallo!", "Guten Tag!", "Guten Morgen!", "Hallo, wie geht es dir?"], ["Hallo! Wie kann ich dir helfen?"]),
        "it": (["Ciao!", "Buongiorno!", "Ciao, come stai?", "Buonasera!"], ["Ciao! Come posso aiutarti?"]),
        "pt": (["Olá!", "Bom dia!", "Olá, tudo bem?", "Boa tarde!"], ["Olá! Como posso ajudar?"]),
    },
    "name": {
        "en": (["What is your name?", "What are you called?"], ["My name is smolq tiny."]),
        "fr": (["Comment t'appelles-tu ?", "Quel est ton nom ?", "Comment tu t'appelles ?"], ["Je m'appelle smolq tiny."]),
        "es": (["¿Cómo te llamas?", "¿Cuál es tu nombre?"], ["Me llamo smolq tiny."]),
        "de": (["Wie heißt du?", "Wie ist dein Name?"], ["Ich heiße smolq tiny."]),
        "it": (["Come ti chiami?", "Qual è il tuo nome?"], ["Mi chiamo smolq tiny."]),
        "pt": (["Como te chamas?", "Qual é o teu nome?", "Como você se chama?"], ["Eu me chamo smolq tiny."]),
    },
    "meet": {
        "en": (["My name is {n}.", "I am called {n}."], ["Nice to meet you, {n}!"]),
        "fr": (["Je m'appelle {n}.", "Mon nom est {n}."], ["Enchanté, {n} !"]),
        "es": (["Me llamo {n}.", "Mi nombre es {n}."], ["¡Mucho gusto, {n}!"]),
        "de": (["Ich heiße {n}.", "Mein Name ist {n}."], ["Freut mich, {n}!"]),
        "it": (["Mi chiamo {n}.", "Il mio nome è {n}."], ["Piacere, {n}!"]),
        "pt": (["Eu me chamo {n}.", "O meu nome é {n}."], ["Muito prazer, {n}!"]),
    },
    "thanks": {
        "en": (["Thank you!", "Thanks a lot!"], ["You are welcome!"]),
        "fr": (["Merci !", "Merci beaucoup !"], ["Je vous en prie !"]),
        "es": (["¡Gracias!", "¡Muchas gracias!"], ["¡De nada!"]),
        "de": (["Danke!", "Vielen Dank!"], ["Gern geschehen!"]),
        "it": (["Grazie!", "Grazie mille!"], ["Prego, è un piacere!"]),
        "pt": (["Obrigado!", "Muito obrigada!"], ["Não tem de quê!"]),
    },
    "bye": {
        "en": (["Goodbye!", "See you later!", "Good night!"], ["Goodbye! See you soon."]),
        "fr": (["Au revoir !", "À bientôt !", "Bonne nuit !"], ["Au revoir, à bientôt !"]),
        "es": (["¡Adiós!", "¡Hasta luego!", "¡Buenas noches!"], ["¡Adiós, hasta pronto!"]),
        "de": (["Auf Wiedersehen!", "Bis bald!", "Gute Nacht!"], ["Auf Wiedersehen, bis bald!"]),
        "it": (["Arrivederci!", "A presto!", "Buonanotte!"], ["Arrivederci, a presto!"]),
        "pt": (["Adeus!", "Até logo!", "Boa noite!"], ["Adeus, até breve!"]),
    },
    "help": {
        "en": (["Can you help me?", "I need help."], ["Yes, of course. What do you need?"]),
        "fr": (["Peux-tu m'aider ?", "J'ai besoin d'aide."], ["Oui, bien sûr. De quoi avez-vous besoin ?"]),
        "es": (["¿Puedes ayudarme?", "Necesito ayuda."], ["Sí, claro. ¿Qué necesitas?"]),
        "de": (["Kannst du mir helfen?", "Ich brauche Hilfe."], ["Ja, natürlich. Was brauchst du?"]),
        "it": (["Puoi aiutarmi?", "Ho bisogno di aiuto."], ["Sì, certo. Di che cosa hai bisogno?"]),
        "pt": (["Podes ajudar-me?", "Preciso de ajuda."], ["Sim, claro. De que precisas?"]),
    },
}

# Nouns with their article in six languages; feminine or not matters to the adjective in fr, es, it, pt.
NOUNS = {
    "house": {"en": "the house", "fr": ("la maison", 1), "es": ("la casa", 1), "de": "das Haus", "it": ("la casa", 1), "pt": ("a casa", 1)},
    "cat": {"en": "the cat", "fr": ("le chat", 0), "es": ("el gato", 0), "de": "die Katze", "it": ("il gatto", 0), "pt": ("o gato", 0)},
    "dog": {"en": "the dog", "fr": ("le chien", 0), "es": ("el perro", 0), "de": "der Hund", "it": ("il cane", 0), "pt": ("o cão", 0)},
    "book": {"en": "the book", "fr": ("le livre", 0), "es": ("el libro", 0), "de": "das Buch", "it": ("il libro", 0), "pt": ("o livro", 0)},
    "car": {"en": "the car", "fr": ("la voiture", 1), "es": ("el coche", 0), "de": "das Auto", "it": ("la macchina", 1), "pt": ("o carro", 0)},
    "table": {"en": "the table", "fr": ("la table", 1), "es": ("la mesa", 1), "de": "der Tisch", "it": ("il tavolo", 0), "pt": ("a mesa", 1)},
    "flower": {"en": "the flower", "fr": ("la fleur", 1), "es": ("la flor", 1), "de": "die Blume", "it": ("il fiore", 0), "pt": ("a flor", 1)},
    "door": {"en": "the door", "fr": ("la porte", 1), "es": ("la puerta", 1), "de": "die Tür", "it": ("la porta", 1), "pt": ("a porta", 1)},
    "street": {"en": "the street", "fr": ("la rue", 1), "es": ("la calle", 1), "de": "die Straße", "it": ("la strada", 1), "pt": ("a rua", 1)},
    "apple": {"en": "the apple", "fr": ("la pomme", 1), "es": ("la manzana", 1), "de": "der Apfel", "it": ("la mela", 1), "pt": ("a maçã", 1)},
    "boat": {"en": "the boat", "fr": ("le bateau", 0), "es": ("el barco", 0), "de": "das Boot", "it": ("la barca", 1), "pt": ("o barco", 0)},
    "garden": {"en": "the garden", "fr": ("le jardin", 0), "es": ("el jardín", 0), "de": "der Garten", "it": ("il giardino", 0), "pt": ("o jardim", 0)},
    "bread": {"en": "the bread", "fr": ("le pain", 0), "es": ("el pan", 0), "de": "das Brot", "it": ("il pane", 0), "pt": ("o pão", 0)},
    "sea": {"en": "the sea", "fr": ("la mer", 1), "es": ("el mar", 0), "de": "das Meer", "it": ("il mare", 0), "pt": ("o mar", 0)},
    "train": {"en": "the train", "fr": ("le train", 0), "es": ("el tren", 0), "de": "der Zug", "it": ("il treno", 0), "pt": ("o comboio", 0)},
    "city": {"en": "the city", "fr": ("la ville", 1), "es": ("la ciudad", 1), "de": "die Stadt", "it": ("la città", 1), "pt": ("a cidade", 1)},
}
ADJECTIVES = {
    "big": {"en": "big", "fr": ("grand", "grande"), "es": ("grande", "grande"), "de": "groß", "it": ("grande", "grande"), "pt": ("grande", "grande")},
    "small": {"en": "small", "fr": ("petit", "petite"), "es": ("pequeño", "pequeña"), "de": "klein", "it": ("piccolo", "piccola"), "pt": ("pequeno", "pequena")},
    "new": {"en": "new", "fr": ("nouveau", "nouvelle"), "es": ("nuevo", "nueva"), "de": "neu", "it": ("nuovo", "nuova"), "pt": ("novo", "nova")},
    "old": {"en": "old", "fr": ("vieux", "vieille"), "es": ("viejo", "vieja"), "de": "alt", "it": ("vecchio", "vecchia"), "pt": ("velho", "velha")},
    "red": {"en": "red", "fr": ("rouge", "rouge"), "es": ("rojo", "roja"), "de": "rot", "it": ("rosso", "rossa"), "pt": ("vermelho", "vermelha")},
    "white": {"en": "white", "fr": ("blanc", "blanche"), "es": ("blanco", "blanca"), "de": "weiß", "it": ("bianco", "bianca"), "pt": ("branco", "branca")},
    "black": {"en": "black", "fr": ("noir", "noire"), "es": ("negro", "negra"), "de": "schwarz", "it": ("nero", "nera"), "pt": ("preto", "preta")},
    "green": {"en": "green", "fr": ("vert", "verte"), "es": ("verde", "verde"), "de": "grün", "it": ("verde", "verde"), "pt": ("verde", "verde")},
    "beautiful": {"en": "beautiful", "fr": ("beau", "belle"), "es": ("hermoso", "hermosa"), "de": "schön", "it": ("bello", "bella"), "pt": ("bonito", "bonita")},
    "good": {"en": "good", "fr": ("bon", "bonne"), "es": ("bueno", "buena"), "de": "gut", "it": ("buono", "buona"), "pt": ("bom", "boa")},
}
IS = {"en": "is", "fr": "est", "es": "es", "de": "ist", "it": "è", "pt": "é"}
YES = {"en": "Yes, {}.", "fr": "Oui, {}.", "es": "Sí, {}.", "de": "Ja, {}.", "it": "Sì, {}.", "pt": "Sim, {}."}
ASK = {"en": "Is {n} {a}?", "fr": "Est-ce que {n} est {a} ?", "es": "¿{N} es {a}?", "de": "Ist {n} {a}?", "it": "{N} è {a}?", "pt": "{N} é {a}?"}
# Questions about a sentence: {s} is the sentence.
WHAT = {"en": "{S}. What is {a}?", "fr": "{S}. Qu'est-ce qui est {a} ?", "es": "{S}. ¿Qué es {a}?", "de": "{S}. Was ist {a}?",
        "it": "{S}. Che cosa è {a}?", "pt": "{S}. O que é {a}?"}

def sentence(language, noun, adjective):
    noun, adjective = NOUNS[noun][language], ADJECTIVES[adjective][language]
    if isinstance(noun, tuple):
        noun, adjective = noun[0], adjective[noun[1]]
    return noun, adjective, f"{noun} {IS[language]} {adjective}"


def words(text):
    return regex.findall(r"\p{L}+", text.lower())


def markers():
    """The words of each language, by which the language of an answer is told."""
    result = {}
    for code in IS:
        texts = [answer for kind in TALK.values() for answer in kind[code][1]] + [IS[code], YES[code]]
        for table in (NOUNS, ADJECTIVES):
            for entry in table.values():
                entry = entry[code]
                texts += [part for part in (entry if isinstance(entry, tuple) else [entry]) if isinstance(part, str)]
        result[code] = sorted({word for text in texts for word in words(text.replace("{n}", ""))})
    return result


def upper(text):
    return text[0].upper() + text[1:]


def pick(rng, fillers, language=None):
    """A noun and an adjective whose pair is of this side."""
    while True:
        noun, adjective = rng.choice(sorted(NOUNS)), rng.choice(sorted(ADJECTIVES))
        if fillers.allowed("sentence", noun, adjective):
            return noun, adjective


def conversation(rng, fillers, language):
    """A prompt in a language and the answer in the same."""
    code, kind = CODES[language], rng.choice(sorted(TALK) + ["is", "is", "what", "what", "meet"])
    if kind in TALK:
        prompts, answers = TALK[kind][code]
        name = fillers.name()
        return rng.choice(prompts).format(n=name), rng.choice(answers).format(n=name)
    noun, adjective, text = sentence(code, *pick(rng, fillers))
    if kind == "is":
        return (f"{upper(text)}. " + ASK[code].format(n=noun, N=upper(noun), a=adjective), YES[code].format(text))
    return WHAT[code].format(S=upper(text), a=adjective), f"{upper(noun)}."


@skill(weight=1.2, held_out=60)
def language(rng, fillers):
    """The answer is in the language of the prompt."""
    name = rng.choice(LANGUAGES)
    prompt, answer = conversation(rng, fillers, name)
    return Example(user(prompt), answer, f"The user writes {name}. I answer in {name}.", ("language", CODES[name]))


@skill(weight=1.5, held_out=36, group="translation")
def translation(rng, fillers):
    """From English to one of the others, and back."""
    target = rng.choice(LANGUAGES[1:])
    noun, adjective = pick(rng, fillers)
    english, other = upper(sentence("en", noun, adjective)[2]), upper(sentence(CODES[target], noun, adjective)[2])
    if rng.random() < 0.75:
        ask = rng.choice((f'Translate to {target}: {english}.', f'How do you say "{english}." in {target}?', f"Say in {target}: {english}.",
                          f'What is "{english}." in {target}?'))
        return Example(user(ask), f"{other}.", f'{noun} is "{sentence(CODES[target], noun, adjective)[0]}". {adjective} is "{sentence(CODES[target], noun, adjective)[1]}".',
                       ("contains", [other]))
    ask = rng.choice((f'Translate to English: {other}.', f'What does "{other}." mean?', f"Say in English: {other}."))
    return Example(user(ask), f"{english}.", f'This is {target}. "{sentence(CODES[target], noun, adjective)[0]}" is {noun}.',
                   ("contains", [english]))


WORDS = {"hello": "bonjour hola hallo ciao olá", "thank you": "merci gracias danke grazie obrigado", "yes": "oui sí ja sì sim",
         "no": "non no nein no não", "goodbye": "au~revoir adiós auf~Wiedersehen arrivederci adeus", "please": "s'il~vous~plaît por~favor bitte per~favore por~favor",
         "good morning": "bonjour buenos~días guten~Morgen buongiorno bom~dia", "good night": "bonne~nuit buenas~noches gute~Nacht buonanotte boa~noite",
         "one": "un uno eins uno um", "two": "deux dos zwei due dois", "three": "trois tres drei tre três", "water": "eau agua Wasser acqua água",
         "friend": "ami amigo Freund amico amigo", "day": "jour día Tag giorno dia", "night": "nuit noche Nacht notte noite"}


@skill(weight=0.6, held_out=18, group="translation")
def phrasebook(rng, fillers):
    """Words and greetings."""
    word, target = rng.choice(sorted(WORDS)), rng.randrange(5)
    name, said = LANGUAGES[target + 1], WORDS[word].split()[target].replace("~", " ")
    forms = (f'How do you say "{word}" in {name}?', f"What is {word} in {name}?", f'What is "{word}" in {name}?', f"How do I say {word} in {name}?",
             f"Translate {word} to {name}.", f"{word} in {name}?", f'Tell me the {name} for "{word}".')
    ask = rng.choice([form for form in forms if fillers.allowed(form)] or [forms[0]])
    return Example(user(ask), f'"{word}" in {name} is "{said}".', f"The user wants {name}.", ("contains", [f'is "{said}"']))
