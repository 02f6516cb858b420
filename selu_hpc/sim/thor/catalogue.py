"""THOR's object types: what can be done with them, how large and heavy they are, where they may lie.

Owns facts about types. Does not own instances (thing.py) or rooms (scenes.py).
Sizes are metres (x, y, z) with the front towards +z. A property word is one of `PROPERTIES`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

PROPERTIES = (
    "pick",
    "move",
    "rec",
    "open",
    "toggle",
    "break",
    "slice",
    "fill",
    "dirty",
    "cook",
    "useup",
    "heat",
    "cold",
    "static",
)


@dataclass(frozen=True, slots=True)
class Spec:
    """One object type."""

    kind: str
    size: tuple[float, float, float]
    properties: frozenset[str]
    mass: float
    materials: tuple[str, ...]
    places: frozenset[str]

    def can(self, word: str) -> bool:
        return word in self.properties


_TABLE = """
AlarmClock .16 .13 .09 pick | 0.4 | Plastic
AluminumFoil .28 .06 .06 pick | 0.3 | Metal
Apple .09 .09 .09 pick slice | 0.2 | Food
AppleSliced .035 .07 .07 pick | 0.05 | Food
ArmChair .85 .85 .85 rec move | 20 | Fabric Wood
BaseballBat .80 .07 .07 pick | 0.9 | Wood
BasketBall .24 .24 .24 pick | 0.6 | Rubber
Bathtub 1.6 .55 .75 rec static | 0 | Ceramic
BathtubBasin 1.4 .40 .55 rec static | 0 | Ceramic
Bed 1.6 .95 2.0 rec dirty static | 0 | Fabric Wood
Blinds 1.1 1.2 .06 open static | 0 | Plastic
Book .17 .04 .23 pick open | 0.5 | Paper
Boots .28 .25 .28 pick | 0.8 | Leather
Bottle .08 .24 .08 pick break fill | 0.5 | Glass
Bowl .17 .08 .17 pick rec break fill dirty | 0.4 | Ceramic
Box .36 .24 .30 pick rec open | 0.5 | Paper
Bread .13 .12 .26 pick slice | 0.5 | Food
BreadSliced .12 .11 .03 pick cook | 0.05 | Food
ButterKnife .02 .015 .21 pick | 0.1 | Metal
CD .13 .012 .13 pick | 0.1 | Plastic
Cabinet .56 .62 .56 rec open static | 0 | Wood
Candle .07 .13 .07 pick toggle | 0.3 | Wax
CellPhone .08 .014 .15 pick toggle break | 0.2 | Metal Glass
Chair .45 .92 .48 rec move | 6 | Wood
Cloth .24 .03 .22 pick dirty | 0.1 | Fabric
CoffeeMachine .24 .36 .32 rec toggle move | 3 | Plastic Metal
CoffeeTable 1.1 .44 .60 rec move | 12 | Wood
CounterTop 1.2 .05 .64 rec static | 0 | Stone
CreditCard .09 .006 .06 pick | 0.02 | Plastic
Cup .08 .11 .08 pick rec break fill dirty | 0.3 | Glass
Curtains 1.2 1.5 .10 static | 0 | Fabric
Desk 1.3 .75 .65 rec static | 0 | Wood
DeskLamp .18 .42 .18 toggle move | 1.5 | Metal
Desktop .22 .42 .42 move | 6 | Metal Plastic
DiningTable 1.4 .75 .85 rec move | 30 | Wood
DishSponge .11 .035 .07 pick | 0.05 | Sponge
DogBed .80 .16 .60 rec move | 2 | Fabric
Drawer .54 .18 .52 rec open static | 0 | Wood
Dresser 1.1 .85 .50 rec static | 0 | Wood
Dumbbell .26 .11 .11 pick | 4 | Metal
Egg .05 .06 .05 pick break slice | 0.06 | Food
EggCracked .11 .02 .11 pick cook | 0.05 | Food
Faucet .10 .26 .20 toggle static | 0 | Metal
FloorLamp .36 1.6 .36 toggle move | 5 | Metal
Footstool .40 .32 .40 rec move | 3 | Wood
Fork .03 .015 .19 pick | 0.1 | Metal
Fridge .82 1.85 .76 rec open cold static | 0 | Metal
GarbageBag .36 .42 .36 move | 1 | Plastic
GarbageCan .32 .48 .32 rec move | 1.5 | Plastic
HandTowel .24 .30 .04 pick | 0.2 | Fabric
HandTowelHolder .28 .05 .09 rec static | 0 | Metal
HousePlant .30 .48 .30 fill move | 2 | Ceramic
Kettle .22 .21 .17 pick open fill | 1 | Metal
KeyChain .06 .012 .09 pick | 0.1 | Metal
Knife .03 .02 .29 pick | 0.2 | Metal
Ladle .09 .06 .28 pick | 0.2 | Metal
Laptop .35 .24 .26 pick open toggle break | 2 | Metal Plastic
LaundryHamper .42 .55 .42 rec open move | 2 | Fabric
Lettuce .17 .15 .17 pick slice | 0.4 | Food
LettuceSliced .06 .12 .12 pick | 0.05 | Food
LightSwitch .08 .12 .02 toggle static | 0 | Plastic
Microwave .50 .30 .38 rec open toggle heat move | 8 | Metal Plastic
Mirror .70 .90 .05 break dirty static | 0 | Glass
Mug .11 .10 .09 pick rec break fill dirty | 0.4 | Ceramic
Newspaper .30 .02 .22 pick | 0.2 | Paper
Ottoman .60 .40 .60 rec move | 6 | Fabric
Painting .80 .60 .05 static | 0 | Wood Paper
Pan .42 .06 .26 pick rec dirty | 1 | Metal
PaperTowelRoll .12 .27 .12 pick useup | 0.3 | Paper
Pen .015 .015 .14 pick | 0.02 | Plastic
Pencil .012 .012 .17 pick | 0.02 | Wood
PepperShaker .05 .11 .05 pick | 0.2 | Glass
Pillow .48 .15 .34 pick | 0.6 | Fabric
Plate .23 .025 .23 pick rec break dirty | 0.5 | Ceramic
Plunger .15 .46 .15 pick | 0.5 | Wood Rubber
Poster .60 .80 .02 static | 0 | Paper
Pot .30 .16 .24 pick rec fill dirty | 1.2 | Metal
Potato .10 .08 .08 pick slice cook | 0.2 | Food
PotatoSliced .03 .06 .07 pick cook | 0.05 | Food
RemoteControl .06 .02 .19 pick | 0.2 | Plastic
RoomDecor .30 .70 .30 move | 3 | Wood
Safe .40 .42 .38 rec open move | 20 | Metal
SaltShaker .05 .10 .05 pick | 0.2 | Glass
ScrubBrush .08 .36 .08 pick | 0.2 | Plastic
Shelf .90 .03 .26 rec static | 0 | Wood
ShelvingUnit .90 1.50 .36 rec move | 20 | Wood
ShowerCurtain 1.5 1.9 .08 open static | 0 | Fabric
ShowerDoor .80 1.95 .05 open break static | 0 | Glass
ShowerGlass .95 1.95 .05 break static | 0 | Glass
ShowerHead .14 .16 .26 toggle static | 0 | Metal
SideTable .50 .60 .44 rec move | 8 | Wood
Sink .66 .26 .50 rec static | 0 | Metal
SinkBasin .56 .18 .40 rec static | 0 | Metal
SoapBar .09 .035 .06 pick | 0.1 | Soap
SoapBottle .08 .21 .08 pick useup | 0.4 | Plastic
Sofa 1.9 .82 .90 rec move | 40 | Fabric
Spatula .07 .05 .30 pick | 0.1 | Plastic
Spoon .035 .015 .17 pick | 0.1 | Metal
SprayBottle .09 .25 .07 pick | 0.3 | Plastic
Statue .12 .26 .12 pick break | 1 | Stone
Stool .36 .60 .36 rec move | 3 | Wood
StoveBurner .22 .02 .22 rec heat static | 0 | Metal
StoveKnob .055 .055 .04 toggle static | 0 | Plastic
TVStand 1.4 .52 .45 rec static | 0 | Wood
TableTopDecor .13 .20 .13 pick break | 0.6 | Ceramic
TeddyBear .28 .34 .24 pick | 0.5 | Fabric
Television 1.0 .62 .20 toggle break move | 10 | Glass Plastic
TennisRacket .27 .05 .68 pick | 0.4 | Metal
TissueBox .23 .09 .12 pick useup | 0.2 | Paper
Toaster .30 .20 .19 rec toggle move | 2 | Metal
Toilet .46 .78 .66 rec open static | 0 | Ceramic
ToiletPaper .11 .10 .11 pick useup | 0.2 | Paper
ToiletPaperHanger .18 .06 .10 rec static | 0 | Metal
Tomato .09 .08 .09 pick slice | 0.15 | Food
TomatoSliced .03 .075 .075 pick | 0.04 | Food
Towel .42 .58 .05 pick | 0.5 | Fabric
TowelHolder .52 .05 .10 rec static | 0 | Metal
VacuumCleaner .30 1.1 .34 move | 6 | Plastic
Vase .14 .28 .14 pick break fill | 0.8 | Ceramic
Watch .07 .03 .08 pick | 0.1 | Metal
WateringCan .30 .24 .17 pick fill | 0.6 | Plastic
Window 1.3 1.2 .06 break static | 0 | Glass
WineBottle .085 .31 .085 pick break fill | 1 | Glass
Floor 4 .02 4 rec static | 0 | Wood
StoveBase .76 .90 .64 static | 0 | Metal
"""

_FLATS = "DiningTable TVStand CoffeeTable SideTable"
_TOPS = _FLATS + " CounterTop"
_SITS = "Stool Chair Footstool"
_SOFT = "Sofa ArmChair"
_WET = "Sink SinkBasin"
_FOOD = _TOPS + " Desk " + _WET + " Pot Pan Bowl Microwave Fridge Plate GarbageCan Dresser"
_EATEN = _TOPS + " " + _WET + " Pot Pan Bowl Microwave Fridge Plate GarbageCan"
_TOOL = _TOPS + " " + _WET + " Desk Pot Pan Bowl Mug Plate Cup Drawer"
_KEEP = "Dresser Desk Shelf Drawer Box"
_PLACES = f"""
AlarmClock: {_TOPS} Box Dresser Desk Shelf Chair Stool
AluminumFoil: {_TOPS} Dresser Drawer Desk Cabinet Shelf
Apple AppleSliced: {_FOOD}
BaseballBat: {_TOPS} Bed Desk Floor
BasketBall: {_TOPS} {_SOFT} Dresser Desk Bed Stool Chair Floor
Book: {_TOPS} {_SOFT} Box Ottoman Dresser Desk Bed Cabinet Shelf Drawer Stool Chair Floor
Boots: Floor
Bottle: {_TOPS} {_WET} Fridge Box Dresser Desk Cabinet Shelf GarbageCan
Bowl: {_TOPS} {_WET} Microwave Fridge Dresser Desk Cabinet Shelf
Box: {_TOPS} {_SOFT} Dresser Desk Cabinet Shelf Ottoman Stool Chair Floor
Bread: {_TOPS} Microwave Fridge Desk GarbageCan Plate
BreadSliced: {_TOPS} Microwave Fridge Desk GarbageCan Toaster Plate
ButterKnife: {_TOOL}
CD: {_TOPS} {_KEEP} {_SITS} {_SOFT} Ottoman Cabinet GarbageCan Safe
Candle: {_TOPS} {_KEEP} Toilet Bathtub Cabinet Stool Chair
CellPhone: {_TOPS} {_KEEP} {_SITS} {_SOFT} Ottoman Bed Safe
Cloth: {_TOPS} {_KEEP} {_SITS} {_SOFT} {_WET} Ottoman LaundryHamper Toilet BathtubBasin Bathtub Cabinet GarbageCan Floor
CreditCard: {_TOPS} {_KEEP} {_SITS} {_SOFT} Ottoman
Cup: {_TOPS} {_WET} Microwave Fridge Dresser Desk Cabinet Shelf
DishSponge: {_TOPS} {_WET} Pot Pan Bowl Plate Box Toilet BathtubBasin Bathtub Cabinet Shelf Drawer GarbageCan
Dumbbell: {_TOPS} {_SITS} {_SOFT} Dresser Desk Cabinet Shelf Bed Floor
Egg EggCracked: {_EATEN}
Fork: {_TOOL}
HandTowel: HandTowelHolder
Kettle: {_TOPS} {_WET} Cabinet StoveBurner Shelf
KeyChain: {_TOPS} {_KEEP} {_SOFT} Ottoman Safe Stool Chair
Knife: {_TOPS} {_WET} Pot Pan Bowl Mug Plate Drawer
Ladle: {_TOPS} {_WET} Pot Pan Bowl Plate Cabinet Drawer
Laptop: {_TOPS} {_SITS} {_SOFT} Ottoman Dresser Desk Bed
Lettuce LettuceSliced: {_TOPS} {_WET} Pot Pan Bowl Fridge Plate GarbageCan
Mug: {_TOPS} {_WET} CoffeeMachine Microwave Fridge Plate Box Dresser Desk Cabinet Shelf
Newspaper: {_TOPS} {_SITS} {_SOFT} Ottoman Dresser Desk Bed Toilet Cabinet Shelf Drawer GarbageCan Floor
Pan: {_TOPS} {_WET} Cabinet StoveBurner Fridge
PaperTowelRoll: {_TOPS} Box Toilet Bathtub Shelf GarbageCan
Pen Pencil: {_TOPS} {_KEEP} {_SITS} Mug GarbageCan
PepperShaker SaltShaker: {_TOPS} Drawer Cabinet Shelf
Pillow: {_SOFT} Ottoman Bed Stool Chair
Plate: {_TOPS} {_WET} Microwave Fridge Dresser Desk Cabinet Shelf
Plunger: Cabinet Floor
Pot: {_TOPS} {_WET} StoveBurner Fridge Cabinet Shelf
Potato PotatoSliced: {_EATEN}
RemoteControl: {_TOPS} {_KEEP} {_SITS} {_SOFT} Ottoman
ScrubBrush: {_TOPS} Toilet Cabinet Shelf Floor
SoapBar: {_TOPS} {_WET} Toilet Bathtub BathtubBasin Cabinet Shelf Drawer GarbageCan
SoapBottle: {_TOPS} Dresser Desk Toilet Bathtub Sink Cabinet Shelf Drawer GarbageCan
Spatula: {_TOPS} {_WET} Pot Pan Bowl Plate Drawer
Spoon: {_TOOL}
SprayBottle: {_TOPS} Dresser Desk Toilet Cabinet Shelf Drawer GarbageCan
Statue: {_TOPS} Box Dresser Desk Shelf Safe
TableTopDecor: {_TOPS} Dresser Desk Cabinet Shelf
TeddyBear: {_TOPS} {_SOFT} Bed Ottoman Dresser Desk Safe Stool Chair
TennisRacket: {_TOPS} Dresser Desk Bed Stool Chair Floor
TissueBox: {_TOPS} {_KEEP} {_SITS} Toilet Cabinet GarbageCan
ToiletPaper: {_TOPS} Dresser Desk Toilet ToiletPaperHanger Bathtub Cabinet Shelf Drawer GarbageCan Stool Chair
Tomato TomatoSliced: {_TOPS} {_WET} Pot Bowl Fridge GarbageCan Plate
Towel: TowelHolder
Vase: {_TOPS} Box Dresser Desk Cabinet Shelf Safe
Watch: {_TOPS} {_KEEP} {_SITS} Safe
WateringCan: {_TOPS} Dresser Desk Cabinet Shelf Drawer Stool Chair Floor
WineBottle: {_TOPS} Fridge Dresser Desk Cabinet Shelf GarbageCan
CoffeeMachine Microwave Toaster: {_TOPS}
DeskLamp Television Desktop: {_TOPS} Desk Dresser Shelf
HousePlant: {_TOPS} Desk Dresser Shelf Floor
"""

MUST_BE_OPEN = frozenset({"Drawer", "Cabinet", "LaundryHamper", "Microwave", "Fridge", "Box", "Safe"})
"""Receptacles that take nothing, and hide what they hold, while closed."""
SLICES_INTO = {
    "Apple": ("AppleSliced", 5),
    "Bread": ("BreadSliced", 6),
    "Lettuce": ("LettuceSliced", 5),
    "Potato": ("PotatoSliced", 6),
    "Tomato": ("TomatoSliced", 6),
    "Egg": ("EggCracked", 1),
}
"""What a knife makes of a thing, and how many."""
LIQUIDS = ("water", "wine", "coffee")
FRAGILE_DROP = 0.8
"""A breakable thing that falls farther than this, in metres, breaks."""


@lru_cache(maxsize=1)
def specs() -> dict[str, Spec]:
    """Every type by its name."""
    places = _places()
    table = {}
    for line in _TABLE.strip().splitlines():
        head, mass, materials = line.split("|")
        kind, w, h, d, *words = head.split()
        table[kind] = Spec(
            kind=kind,
            size=(float(w), float(h), float(d)),
            properties=frozenset(words),
            mass=float(mass),
            materials=tuple(materials.split()),
            places=places.get(kind, frozenset()),
        )
    return table


def spec(kind: str) -> Spec:
    """The facts of one type."""
    return specs()[kind]


def _places() -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for line in _PLACES.strip().splitlines():
        kinds, _, receptacles = line.partition(":")
        for kind in kinds.split():
            found[kind] = frozenset(receptacles.split())
    return found
