"""The words that fill the templates: lists, invented words, numbers; each split for good into seen (training) and unseen (held-out)."""
import zlib

NAMES = """Mira Tom Anna Leo Nora Ben Lucy Max Ella Sam Ida Finn Rosa Otto Lily Hugo Clara Felix Maya Oscar Jane Paul Emma Jack Sara Peter
Nina Carl Julia Mark Alice Simon Vera David Greta Victor Laura Martin Eva Henry Sofia Robert Olga Frank Helen George Marta Edward Irene
Walter Diana Arthur Flora Albert Ruth Louis Agnes Bruno Celia Dario Elena Fabio Gina Heidi Ivan Jonas Karin Lars Mona Nils Olive Piero
Quinn Ravi Stella Tara Ugo Viola Wanda Xavier Yara Zoe Amir Bella Cosmo Daisy Emil Freya Gustav Holly Igor Joy Kai Lena Milo Naomi Oren
Petra Rudi Selma Theo Una Vito Willa Yuri Zelda""".split()

CITIES = """Paris London Berlin Madrid Rome Lisbon Vienna Prague Dublin Oslo Athens Warsaw Bern Brussels Budapest Helsinki Stockholm
Copenhagen Tokyo Delhi Cairo Nairobi Lima Quito Bogota Toronto Boston Chicago Denver Seattle Austin Dallas Miami Sydney Perth Auckland
Mumbai Seoul Bangkok Hanoi Manila Jakarta Dubai Doha Tunis Rabat Lagos Accra Dakar Porto Seville Milan Turin Naples Venice Genoa Lyon
Nice Lille Nantes Bordeaux Munich Hamburg Cologne Leipzig Dresden Bremen Geneva Zurich Basel Graz Linz Krakow Gdansk Riga Vilnius Tallinn
Sofia Bucharest Belgrade Zagreb Split Izmir Ankara Haifa Amman Kyoto Osaka Busan Perugia Verona Malaga Bilbao Granada Cork Leeds York
Bath Oxford Bristol Cardiff Glasgow Tampa Omaha Reno Tucson Salem Quebec Calgary Havana Recife Santos Cusco""".split()

# What a tool can look up, and about what: "the tide", "the price".
TOPICS = """weather forecast temperature price tide score altitude population timetable humidity balance status schedule rating menu
traffic address distance salary calorie discount rent fare mileage warranty ranking pollen sunrise sunset rainfall snowfall voltage
inventory stock headcount capacity deadline agenda budget invoice refund ticket booking delivery parcel shipment harvest vaccine
diagnosis prescription dosage pulse biography recipe lyrics trailer playlist podcast headline horoscope lottery exchange mortgage
insurance pension tariff customs visa passport embassy currency stamp coupon voucher catalogue chapter verse glossary synonym anagram
crossword riddle proverb dialect accent grammar thesis grade syllabus lecture seminar exam homework attendance timezone calendar
holiday festival parade concert museum exhibition gallery statue monument bridge tunnel harbour airport runway gate platform pier
lighthouse glacier volcano earthquake avalanche hurricane eclipse comet orbit satellite constellation meteor spectrum isotope
enzyme genome fossil mineral crystal alloy polymer torque pressure flow wattage bandwidth latency uptime firmware checksum
backup firewall certificate domain mailbox newsletter survey poll petition verdict statute permit licence patent trademark
profit revenue wage tax loan debt bond dividend share auction estate contract lease asset ledger receipt cheque bonus grant fee fine
engine battery brake tyre gear pedal clutch fuel diesel charger antenna sensor camera printer scanner router monitor keyboard speaker
microphone thermostat heater boiler fan pump valve pipe cable socket switch alarm doorbell curtain carpet window garage attic cellar
garden greenhouse orchard vineyard barn stable pasture meadow forest canyon desert island lagoon reef delta creek pond spring swamp
dentist surgeon nurse clinic hospital pharmacy ambulance allergy fever cough headache bandage vitamin protein sugar salt caffeine
breakfast lunch dinner snack dessert salad sandwich noodle curry sauce spice pepper garlic onion carrot potato tomato cabbage spinach
match league trophy referee coach stadium marathon sprint regatta tournament chess poker domino puzzle quiz jigsaw karaoke ballet
opera theatre cinema movie series episode actor director script novel poem essay article column comic magazine journal diary letter
library archive folder document file photo video album song melody rhythm chord violin guitar trumpet drum flute harp choir orchestra
birthday wedding funeral baptism reunion picnic barbecue banquet meeting interview briefing workshop training webinar deadlock queue
commit branch merge release build deploy server cluster database table index query cache token session cookie password username
employer colleague manager intern recruit vacancy resume contractor supplier vendor retailer customer tenant landlord neighbour""".split()

# Everyday words: what invented words are put together from, so that no piece of the vocabulary is strange to copying.
WORDS = """able account act add after age air all animal answer any apple arm art ask away baby back bad bag ball band bank bar base basket bath
beach bean bed bell best big bill bird bit black block blue board boat body bone book boot box boy bread bridge bright bring brother brush
build burn bus busy butter button buy cake call camp can cap captain car card care case castle cat chain chair chance change cheap check
cheese child church circle city class clean clear clock close cloth cloud coat coffee cold collar colour come cook cool copy corn corner
cost count country course cover cow cross crowd cry cup current cut dance dark date day dead deal deep desk dinner dish doctor dog dollar
door double down draw dream dress drink drive drop dry dust each ear early earth east easy edge egg else empty end enter even event every
eye face fact fair fall family far farm fast father feel field fight fill find finger fire first fish flat floor flower fly follow food
foot force forget form four free fresh friend front fruit full fun game gas gate get gift girl give glass goal goat gold good grass great
green grey ground group grow guest guide hair half hall hand happy hard hat have head hear heart heat heavy help here high hill hold hole
holiday home honey hope horse hot hour house human hungry ice idea inch ink iron jam job join jump key kick kind king kitchen kite knee
knife know lady lake lamp land large last late laugh law lead leaf learn left leg less lesson life lift light line lion list little live
long look lose loud love low luck lunch make man map mark market master math matter may meal mean meat member milk mind minute mirror miss
moment money month moon more morning mother mouse mouth move much music must nail name near neck need nest never new news next nice night
nine noise noon north nose note nothing now nurse ocean off office often oil old one only open orange other out over own page pain paint
pair paper parent park part party pass past path pay pen pencil people person phone piano picture piece pink place plan plane plant plate
play please point pool poor post pot power present press pretty print prize public pull push put queen quick quiet quite race rain reach
read ready real red rest rice rich ride right ring rise river road rock roof room root rope rose round row rule run sad safe sail salt same
sand save say school sea search season seat second see seed sell send set seven shade shake shape sharp sheep sheet shelf shine ship shirt
shoe shop short shoulder shout show shut sick side sign silver sing sister sit six size skin sky sleep slow small smile smoke snow soap
sock soft some son song soon sound soup south space speak speed spell spoon sport square stage stair stand star start state station stay
step stick still stone stop store storm story street strong student study sugar summer sun sure swim system table tail take talk tall tape
taste tea teach team tell ten tent test thank thing think three throat ticket tie tiger time tired title today toe together tomorrow tooth
top touch towel tower town toy train travel tree trip truck true try turn twin two type uncle under use user valley value very view village
visit voice wait walk wall want warm wash watch water wave way wear weather week weight welcome west wet wheel white wide wife wild win
wind wine wing winter wire wish with woman wonder wood wool word work world worry write wrong yard year yellow yes young zero zoo place
text message memory code chat tool harbour evening model baker prompt token weight question mill farmer owl duck language example string print
rainy sunny windy merry brave lonely wise glad worried tiny village island forest moon capital number sender reader writer helper thread""".split()

# What stands between them: a sentence may begin with any.
SMALL = """my your our his her their its the a an this that these those some no each I you we he she it they me us them is are was were will can
could has had do did does at by for from of to in on into onto off over after before until and or but so if when where why who what how not
very too only just still soon there then now yes please""".split()

# Names of parameters, by what goes in.
PLACE_KEYS = "city place location town destination municipality village site where region station spot venue".split()
THING_KEYS = "name item subject title product object entry topic label key target what reference".split()
PERSON_KEYS = "recipient to person contact user addressee friend employee member client customer".split()
TEXT_KEYS = "text message body content note words sentence line memo remark comment".split()
COUNT_KEYS = "count amount number quantity minutes days hours value total limit size".split()

GOODS = """apples pears plums cherries lemons books pencils cups plates spoons chairs lamps stones shells coins stamps buttons candles
tickets cakes cookies eggs nuts flowers roses tulips balloons marbles ribbons keys boxes bottles hats socks gloves kites boats drums
bells maps letters""".split()

ANIMALS = """fox rabbit bear mouse owl frog cat dog hen duck goat horse lamb pony squirrel hedgehog beaver otter badger deer sparrow
turtle snail bee ant whale seal penguin lion elephant monkey parrot""".split()

COLOURS = "red green blue yellow white black brown grey orange purple pink golden silver".split()

PHRASES = """see you at noon|the train is late|bring some bread|call me tonight|the door is open|dinner is ready|I will be late|
happy birthday|the meeting moved to Monday|please water the plants|we won the match|do not forget the keys|the parcel came|good luck today|
the lamp is broken|I found your hat|meet me at the bridge|thank you for the cake|the cat is on the roof|buy milk and eggs|
the report is done|school ends early|the boat leaves at six|we are out of coffee|the garden looks lovely|take the next bus|
rain is coming|your turn to cook|the room is free|feed the dog|the concert was great|turn off the light|the answer is seven|
sorry for the noise|wait for me|the shop is closed|my phone is back|keep the receipt|the soup is hot|all is well""".replace("\n", "").split("|")

SUBJECTS = """old bridges|wild flowers|cheap flights|quiet beaches|jazz records|garden tools|mountain trails|winter coats|used bikes|
bread recipes|chess openings|solar panels|bird songs|night trains|paper planes|river maps|wooden toys|rare stamps|space probes|
sea monsters|stone age tools|desert plants|piano lessons|magic tricks|rain barrels|goat cheese|city parks|folk tales|fast computers|
short poems|deep caves|glass bottles|red pandas|ice skating|pasta sauces|silent films|wind mills|honey bees|hot springs|tin soldiers"""
SUBJECTS = SUBJECTS.replace("\n", "").split("|")

LANGUAGES = ["English", "French", "Spanish", "German", "Italian", "Portuguese"]

ONSETS = "b c d f g h j k l m n p r s t v w z br cr dr fl gl gr kl pl pr sk sl st tr".split()
VOWELS = "a e i o u ai ea ou".split()
CODAS = ["", "", "", "l", "n", "r", "s", "t", "m", "k", "nd", "rt", "x", "lm"]


def unseen(*key):
    """One in five keys is kept for the held-out examples."""
    return zlib.crc32("/".join(map(str, key)).encode()) % 5 == 0


class Fillers:
    """Draws from one side of the split: `held_out` or not, never from the other. `inventing` is the share of invented words,
    `box` the tools that the chat has already.

    `rare` are tokens that text hardly ever has, most of them merges on the way to a common word. A word that is cut so for once could not be
    copied, had its token not been read in invented words."""

    def __init__(self, rng, held_out, inventing=0.35, box=None, rare=()):
        self.rng, self.held_out, self.inventing, self.box, self.rare = rng, held_out, inventing, box, rare
        self._lists = {}

    def allowed(self, *key):
        return unseen(*key) == self.held_out

    def one(self, words):
        """A word of a list of this module, from this side."""
        side = self._lists.get(id(words))
        if side is None:
            side = self._lists[id(words)] = [word for word in words if self.allowed(word)]
        return self.rng.choice(side)

    def some(self, words, n):
        chosen = []
        while len(chosen) < n:
            word = self.one(words)
            if word not in chosen:
                chosen.append(word)
        return chosen

    def invented(self, syllables=None, capital=False):
        """A word that means nothing: of syllables, of two everyday words, or of pieces."""
        while True:
            draw = 0.0 if syllables else self.rng.random()
            if draw < 0.5:
                n = syllables or self.rng.choice((1, 2, 2, 2, 3))
                word = "".join(self.rng.choice(ONSETS) + self.rng.choice(VOWELS) + self.rng.choice(CODAS) for _ in range(n))
            elif draw < 0.75:
                word = self.rng.choice(WORDS) + self.rng.choice(WORDS)
            else:
                word = "".join(self.piece() for _ in range(self.rng.choice((1, 2, 2, 3))))
            if len(word) > 2 and self.allowed(word):
                return word.capitalize() if capital else word

    def piece(self):
        """Some letters of an everyday word, or a rare token."""
        if self.rare and self.rng.random() < 0.8:
            return self.rng.choice(self.rare)
        word = self.rng.choice(WORDS)
        start = self.rng.randrange(len(word) - 1)
        return word[start:start + self.rng.randint(2, 5)]

    def name(self):
        return self.invented(capital=True) if self.rng.random() < self.inventing else self.one(NAMES)

    def city(self):
        if self.rng.random() < self.inventing:
            return self.invented(capital=True)
        city = self.one(CITIES)
        return f"{self.rng.choice(('New', 'Port', 'Saint', 'East', 'Old'))} {city}" if self.rng.random() < 0.1 else city

    def topic(self):
        return self.invented() if self.rng.random() < self.inventing else self.one(TOPICS)

    def key(self, keys):
        return self.invented() if self.rng.random() < self.inventing else self.one(keys)

    def jumble(self):
        """Everyday words in no order: nothing but the text before says how it goes on."""
        while True:
            words = " ".join(self.rng.choice(SMALL if self.rng.random() < 0.3 else WORDS) for _ in range(self.rng.randint(2, 5)))
            if self.allowed(words):
                return words

    def phrase(self):
        rng = self.rng
        draw = rng.random()
        if draw < 0.55:
            return self.one(PHRASES) if draw < 0.35 else self.jumble()
        name = self.name()
        return rng.choice((f"{name} says hello", f"{name} is waiting in {self.city()}", f"the {self.topic()} is {rng.randint(2, 99)}",
                           f"bring {rng.randint(2, 20)} {rng.choice(GOODS)}", f"meet {name} at {rng.randint(1, 12)}",
                           f"{name} found the {self.invented()}", f"the {rng.choice(COLOURS)} {self.topic()} is here"))

    def subject(self):
        rng = self.rng
        draw = rng.random()
        if draw < 0.5:
            return self.one(SUBJECTS) if draw < 0.35 else self.jumble()
        return rng.choice((f"{self.invented()} {rng.choice(GOODS)}", f"{rng.choice(COLOURS)} {rng.choice(GOODS)} in {self.city()}",
                           f"{self.topic()} in {self.city()}", f"the {self.topic()} of {self.name()}", f"{self.name()} and {self.name()}"))

    def code(self):
        """A short string of letters and digits."""
        rng = self.rng
        while True:
            word = "".join(rng.choice("abcdefghijklmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ0123456789-") for _ in range(rng.randint(4, 8)))
            if self.allowed(word) and word.strip("-") == word:
                return word

    def pair(self, low, high, low2=None, high2=None):
        """Two numbers whose pair is of this side."""
        while True:
            a = self.rng.randint(low, high)
            b = self.rng.randint(low if low2 is None else low2, high if high2 is None else high2)
            if self.allowed("pair", a, b):
                return a, b
