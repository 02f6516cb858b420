"""VirtualHome's classes: which shape and size they have, their properties, and the surfaces things lie on or in.

Owns facts about classes. Does not own homes (homes.py) or where an instance stands (places.py).
Sizes are metres (x, y, z), the front towards +z.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

Size = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class HomeClass:
    """One class of nodes. kind: the shape it is drawn with, empty for what is not drawn."""

    name: str
    kind: str
    size: Size
    category: str
    properties: frozenset[str]


@dataclass(frozen=True, slots=True)
class Surface:
    """A rectangle at height y, in the object's own frame, on or inside which things stand; `clear` metres above it."""

    x0: float
    x1: float
    z0: float
    z1: float
    y: float
    clear: float = 9.0


_LETTERS = {
    "s": "SURFACES", "g": "GRABBABLE", "i": "SITTABLE", "l": "LIEABLE", "h": "HANGABLE", "d": "DRINKABLE",
    "e": "EATABLE", "r": "RECIPIENT", "c": "CUTTABLE", "p": "POURABLE", "o": "CAN_OPEN", "w": "HAS_SWITCH",
    "t": "READABLE", "k": "LOOKABLE", "n": "CONTAINERS", "y": "CLOTHES", "u": "HAS_PLUG", "a": "HAS_PAPER",
    "m": "MOVABLE", "f": "CREAM", "v": "COVER_OBJECT",
}  # fmt: skip

_TABLE = """
kitchen - 0 0 0 Rooms -
livingroom - 0 0 0 Rooms -
bedroom - 0 0 0 Rooms -
bathroom - 0 0 0 Rooms -
floor Floor 4 .02 4 Floor s
wall Wall 4 2.5 .05 Walls -
ceiling Ceiling 4 .05 4 Ceiling -
door Door .9 2.05 .08 Doors o
doorjamb Doorframe .9 2.05 .08 Doors -
window Window 1.1 1.0 .05 Windows k
curtains Curtains 1.4 1.7 .08 Decor ov
powersocket PowerSocket .10 .08 .02 Electronics -
lightswitch LightSwitch .08 .12 .02 Lamps w
ceilinglamp Ceilinglamp .40 .30 .40 Lamps w
wallpictureframe Painting .70 .55 .04 Decor k
wallphone Telephone .18 .22 .08 Electronics hw
clock Clock .24 .26 .06 Decor k
rug Rug 1.7 .015 1.2 Decor sm
fridge Fridge .82 1.85 .76 Appliances onu
stove Stove .66 .92 .64 Appliances onws
dishwasher Dishwasher .60 .92 .62 Appliances onwu
kitchencounter CounterTop 1.30 .92 .64 Furniture s
kitchencounterdrawer Drawer .46 .92 .62 Furniture on
kitchencabinet Cabinet .80 .62 .36 Furniture on
sink Sink .66 .92 .60 Furniture nr
faucet Faucet .10 .26 .20 Furniture w
kitchentable DiningTable 1.30 .75 .85 Furniture sm
chair Chair .45 .92 .48 Furniture ims
bench Bench 1.10 .45 .36 Furniture ims
garbagecan GarbageCan .32 .48 .32 Furniture nm
microwave Microwave .50 .30 .38 Appliances onwu
coffeemaker CoffeeMachine .24 .36 .32 Appliances wum
toaster Toaster .30 .20 .19 Appliances wum
coffeepot Kettle .20 .20 .16 Props gor
knifeblock Packet .12 .22 .10 Props m
sofa Sofa 1.90 .82 .90 Furniture ils
coffeetable CoffeeTable 1.10 .44 .60 Furniture sm
tvstand TVStand 1.40 .52 .45 Furniture s
tv Television 1.00 .62 .20 Electronics wku
bookshelf Bookshelf .95 1.80 .34 Furniture sn
desk Desk 1.30 .75 .65 Furniture s
computer Computer .50 .45 .42 Electronics wku
keyboard Keyboard .42 .03 .15 Electronics gu
mouse Mouse .07 .04 .11 Electronics gu
printer Microwave .42 .24 .34 Electronics wu
speaker Speaker .22 .36 .22 Electronics wu
radio Radio .34 .20 .14 Electronics wmu
stereo Radio .42 .16 .30 Electronics wu
orangelamp FloorLamp .36 1.60 .36 Lamps wu
tablelamp DeskLamp .18 .42 .18 Lamps wu
bed Bed 1.60 .58 2.00 Furniture ils
nightstand Dresser .46 .52 .40 Furniture ons
dresser Dresser 1.10 .85 .50 Furniture ons
closet Closet 1.20 1.90 .58 Furniture on
wallshelf Shelf .90 .03 .26 Furniture s
coatrack TowelHolder .60 .06 .12 Furniture -
toilet Toilet .46 .78 .66 Furniture oi
bathtub Bathtub 1.55 .55 .75 Furniture nil
stall ShowerGlass .95 1.95 .05 Furniture -
bathroomcounter CounterTop 1.00 .86 .52 Furniture s
bathroomcabinet Cabinet .58 .62 .20 Furniture on
washingmachine WashingMachine .60 .86 .58 Appliances onwu
towelrack TowelHolder .52 .05 .10 Furniture -
mirror Mirror .60 .80 .04 Decor k
towel HandTowel .24 .05 .18 Props gv
apple Apple .09 .09 .09 Food gec
peach Peach .085 .085 .085 Food gec
pear Pear .085 .10 .085 Food gec
plum Plum .07 .07 .07 Food gec
lime Lime .065 .065 .065 Food gec
bananas Bananas .20 .09 .14 Food ge
breadslice BreadSliced .12 .11 .03 Food gec
pie Pie .24 .06 .24 Food gec
pudding Pudding .09 .08 .09 Food ge
cupcake Cupcake .08 .09 .08 Food ge
cereal Packet .19 .28 .07 Food geno
crackers Packet .20 .10 .07 Food ge
chips Packet .16 .24 .06 Food ge
salmon Salmon .24 .04 .10 Food gec
chicken Chicken .24 .14 .18 Food gec
cutlets Cutlets .13 .05 .10 Food ge
milk Carton .09 .24 .09 Food gdpo
condimentbottle Bottle .07 .20 .07 Food gpo
dishwashingliquid SoapBottle .08 .21 .08 Props gp
washingsponge DishSponge .11 .035 .07 Props g
plate Plate .23 .025 .23 Props grs
mug Mug .11 .10 .09 Props grp
waterglass WaterGlass .075 .12 .075 Props grp
wineglass WineGlass .08 .19 .08 Props grp
cutleryfork Fork .03 .015 .19 Props g
cutleryknife Knife .03 .02 .26 Props g
dishbowl Bowl .17 .08 .17 Props gr
bowl Bowl .22 .10 .22 Props grn
cookingpot Pot .30 .16 .24 Props gnor
fryingpan Pan .42 .06 .26 Props gn
oventray Plate .38 .03 .28 Props gs
book Book .17 .04 .23 Props gto
magazine Newspaper .22 .012 .28 Props gt
folder Book .24 .03 .30 Props gtno
notes Notes .14 .01 .20 Props gta
paper Paper .21 .004 .29 Props gta
remotecontrol RemoteControl .06 .02 .19 Electronics gw
cellphone CellPhone .08 .014 .15 Electronics gw
phone Telephone .18 .09 .20 Electronics gw
creditcard CreditCard .09 .006 .06 Props g
photoframe Photoframe .18 .24 .03 Decor gk
candle Candle .07 .13 .07 Lamps gw
box Box .34 .22 .26 Props gno
pillow Pillow .46 .14 .32 Props g
clothesshirt Shirt .30 .05 .26 Props ghy
clothespile ClothesPile .30 .16 .28 Props gy
hanger Hanger .42 .012 .20 Props gh
painkillers SoapBottle .05 .09 .05 Props gn
toothbrush Toothbrush .015 .02 .18 Props g
toothpaste Tube .05 .035 .16 Props gfn
facecream Candle .07 .05 .07 Props gfo
hairproduct SprayBottle .07 .19 .06 Props gfn
perfume SoapBottle .06 .11 .06 Props gn
razor Razor .03 .02 .15 Props g
barsoap SoapBar .09 .035 .06 Props gf
toiletpaper ToiletPaper .11 .10 .11 Props gva
bucket GarbageCan .28 .28 .28 Props gn
cat Cat .18 .28 .42 Animals g
"""


@lru_cache(maxsize=1)
def classes() -> dict[str, HomeClass]:
    """Every class by its name."""
    table = {}
    for line in _TABLE.strip().splitlines():
        name, kind, w, h, d, category, letters = line.split()
        properties = frozenset(_LETTERS[c] for c in letters if c != "-")
        size = (float(w), float(h), float(d))
        table[name] = HomeClass(name, "" if kind == "-" else kind, size, category, properties)
    return table


def class_named(name: str) -> HomeClass:
    """The facts of a class; unknown ones are small grabbable things."""
    known = classes().get(name)
    return known or HomeClass(name, "Packet", (0.15, 0.15, 0.15), "Props", frozenset({"GRABBABLE"}))


def first_states(cls: HomeClass) -> list[str]:
    """The states an instance has in a tidy home."""
    states = ["CLOSED"] if "CAN_OPEN" in cls.properties else []
    states += ["OFF"] if "HAS_SWITCH" in cls.properties else []
    states += ["PLUGGED_IN"] if "HAS_PLUG" in cls.properties else []
    return states or ["CLEAN"]


_SEATS = {"Sofa": 0.50, "Chair": 0.49, "Bed": 0.575, "Toilet": 0.58, "Bench": 1.0}


def seat_height(cls: HomeClass, size: Size) -> float:
    """How high one sits on it."""
    return size[1] * _SEATS.get(cls.kind, 0.5 if size[1] > 0.6 else 1.0)


def surfaces(cls: HomeClass, size: Size, *, inside: bool) -> tuple[Surface, ...]:
    """Where things stand on it or in it."""
    w, h, d = size
    x, z = w / 2, d / 2
    if cls.kind == "Bookshelf":
        count = max(1, round(h / 0.36))
        return tuple(
            Surface(-x + 0.06, x - 0.06, -z + 0.04, z - 0.01, (h - 0.025) * i / count + 0.027, h / count - 0.04)
            for i in range(count, -1, -1)
        )
    if not inside:
        match cls.kind:
            case "Sofa":
                return (Surface(-x + 0.3, x - 0.3, -z + 0.28 * d + 0.03, z - 0.05, 0.5 * h),)
            case "Chair":
                return (Surface(-x + 0.03, x - 0.03, -z + 0.07, z - 0.03, 0.49 * h),)
            case "Bed":
                return (Surface(-x + 0.1, x - 0.1, -z + 0.45, z - 0.12, 0.575 * h + 0.03),)
            case "Plate":
                return (Surface(-0.7 * x, 0.7 * x, -0.7 * z, 0.7 * z, 0.5 * h),)
        return (Surface(-x + 0.03, x - 0.03, -z + 0.03, z - 0.03, h),)
    match cls.kind:
        case "Fridge":
            return tuple(
                Surface(-x + 0.07, x - 0.07, -z + 0.07, z - 0.12, share * h, 0.16 * h) for share in (0.42, 0.60, 0.78)
            )
        case "Microwave":
            return (Surface(-x + 0.05, x * 0.4, -z + 0.05, z - 0.06, 0.15 * h, 0.8 * h),)
        case "Sink":
            return (Surface(-x + 0.08, x - 0.08, -z + 0.08, z - 0.08, h - 0.215),)
        case "Bathtub":
            return (Surface(-x + 0.12, x - 0.12, -z + 0.12, z - 0.12, 0.23 * h),)
        case "GarbageCan":
            return (Surface(-0.5 * x, 0.5 * x, -0.5 * z, 0.5 * z, 0.27 * h),)
        case "Dresser" | "Drawer":
            return (Surface(-0.9 * x, 0.9 * x, 0.0, z - 0.03, 0.6 * h, 0.3 * h),)
        case "Stove":
            return (Surface(-0.8 * x, 0.8 * x, -0.7 * z, 0.5 * z, 0.35 * h, 0.3),)
        case "Cabinet" | "Closet" | "Dishwasher" | "WashingMachine":
            count = max(1, round(h / 0.5)) if cls.kind in ("Cabinet", "Closet") else 1
            gap = h / (count + 1)
            return tuple(
                Surface(-x + 0.05, x - 0.05, -z + 0.04, z - 0.06, gap * i + 0.03, gap - 0.05) for i in range(count + 1)
            )
    return (Surface(-0.7 * x, 0.7 * x, -0.7 * z, 0.7 * z, 0.12 * h),)
