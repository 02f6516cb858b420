"""Which verbs and things each simulator's actor can name.

Owns the vocabulary: THOR's object types as its documentation lists them, VirtualHome's classes, and their names.
Does not own the grammar (language.py). A type that is missing here is still named by its own letters.
"""

from __future__ import annotations

from functools import lru_cache

from selu_hpc.config import Simulator
from selu_hpc.envs.language import Language, Takes, Verb
from selu_hpc.envs.said import spaced

_THOR_TYPES = """
AlarmClock AluminumFoil Apple ArmChair BaseballBat BasketBall Bathtub BathtubBasin Bed Blinds Book Boots Bottle Bowl
Box Bread ButterKnife CD Cabinet Candle CellPhone Chair Cloth CoffeeMachine CoffeeTable CounterTop CreditCard Cup
Curtains Desk DeskLamp Desktop DiningTable DishSponge DogBed Drawer Dresser Dumbbell Egg Faucet Floor FloorLamp
Footstool Fork Fridge GarbageBag GarbageCan HandTowel HandTowelHolder HousePlant Kettle KeyChain Knife Ladle Laptop
LaundryHamper Lettuce LightSwitch Microwave Mirror Mug Newspaper Ottoman Painting Pan PaperTowelRoll Pen Pencil
PepperShaker Pillow Plate Plunger Poster Pot Potato RemoteControl RoomDecor Safe SaltShaker ScrubBrush Shelf
ShelvingUnit ShowerCurtain ShowerDoor ShowerGlass ShowerHead SideTable Sink SinkBasin SoapBar SoapBottle Sofa
Spatula Spoon SprayBottle Statue Stool StoveBurner StoveKnob TVStand TableTopDecor TeddyBear Television TennisRacket
TissueBox Toaster Toilet ToiletPaper ToiletPaperHanger Tomato Towel TowelHolder VacuumCleaner Vase Watch WateringCan
Window WineBottle
"""

_THOR_OTHER_NAMES = {
    "AlarmClock": ("clock",),
    "ArmChair": ("armchair",),
    "BasketBall": ("basketball", "ball"),
    "Bathtub": ("bath", "tub"),
    "Cabinet": ("cupboard",),
    "CellPhone": ("phone", "mobile phone", "mobile", "smartphone"),
    "CoffeeMachine": ("coffee maker",),
    "CounterTop": ("counter", "kitchen counter", "worktop"),
    "Curtains": ("curtain",),
    "DeskLamp": ("lamp", "table lamp"),
    "DiningTable": ("table", "kitchen table"),
    "DishSponge": ("sponge",),
    "Faucet": ("tap",),
    "Fridge": ("refrigerator",),
    "GarbageCan": ("trash can", "trash", "bin", "garbage", "waste bin"),
    "HousePlant": ("plant", "house plant"),
    "KeyChain": ("keys", "key", "key ring"),
    "Laptop": ("computer", "notebook"),
    "LightSwitch": ("switch", "light"),
    "Painting": ("picture",),
    "PaperTowelRoll": ("paper towel", "paper towels"),
    "RemoteControl": ("remote",),
    "Sofa": ("couch",),
    "SoapBar": ("soap",),
    "StoveBurner": ("stove", "burner"),
    "StoveKnob": ("knob",),
    "TVStand": ("tv stand", "television stand"),
    "TeddyBear": ("teddy", "stuffed bear"),
    "Television": ("tv",),
    "TissueBox": ("tissues",),
    "Watch": ("wristwatch",),
    "WineBottle": ("wine",),
}

_THOR_INSIDE = """
Bathtub BathtubBasin Bowl Box Cabinet CoffeeMachine Cup Drawer Fridge GarbageBag GarbageCan LaundryHamper Microwave
Mug Pot Safe Sink SinkBasin Toaster Toilet
"""

_MOVES = (
    Verb(
        "move ahead",
        ("move forward", "move forwards", "go forward", "go ahead", "walk forward", "step forward"),
        unless=("to",),
    ),
    Verb(
        "move back",
        ("move backward", "move backwards", "go back", "step back", "walk back", "walk backward", "walk backwards"),
        unless=("to", "toward", "towards", "near"),
    ),
    Verb("turn left", ("rotate left", "look left", "face left")),
    Verb("turn right", ("rotate right", "look right", "face right")),
)
_DONE = Verb("done", ("stop", "finish", "finished", "task complete", "task completed", "i am done"), alone=True)
_GOING = ("go", "walk", "move", "get", "step", "come", "head", "navigate", "return")
_TAKING = ("pickup", "take", "get", "grasp")
_PLACING = ("place", "set", "lay", "insert")
_SWITCHING = ("toggle", "turn", "switch")
_BY = ("by", "off")
"""Who drops by puts nothing down."""

_THOR_VERBS = (
    *_MOVES,
    Verb("move left", ("step left", "strafe left")),
    Verb("move right", ("step right", "strafe right")),
    Verb("look up", ("tilt up",)),
    Verb("look down", ("tilt down",)),
    Verb("go to", ("approach", "find"), Takes.OBJECT, going=_GOING),
    Verb("pick up", ("grab", *_TAKING, "lift", "pickupobject"), Takes.OBJECT, ("pick", "lift"), "up"),
    Verb("put", (*_PLACING, "put down", "drop"), Takes.PLACE, calls=(("put object", 1),)),
    Verb("open", ("openobject",), Takes.OBJECT, ("open",), "up"),
    Verb("close", ("shut", "closeobject"), Takes.OBJECT),
    Verb("break", ("smash", "shatter", "breakobject"), Takes.OBJECT),
    Verb("slice", ("cut", "cut up", "chop", "slice up", "sliceobject"), Takes.OBJECT),
    Verb("toggle on", ("turn on", "switch on", "activate", "toggle object on"), Takes.OBJECT, _SWITCHING, "on"),
    Verb("toggle off", ("turn off", "switch off", "deactivate", "toggle object off"), Takes.OBJECT, _SWITCHING, "off"),
    Verb("drop", ("drop it", "let go", "release", "put down", "put it down", "drop hand object"), unless=_BY, of=True),
    _DONE,
)

_VIRTUALHOME_TYPES = """
apple bananas bathroomcabinet bathroomcounter bathtub bed bench book bookshelf bowl box breadslice bucket cabinet
candle cat cellphone cereal chair chicken chips clock closet clothespile clothesshirt coatrack coffeemaker coffeepot
coffeetable computer condimentbottle cookingpot creditcard crackers cupcake curtains cutleryfork cutleryknife
cutlets desk dishbowl dishwasher dishwashingliquid door drawing dresser facecream faucet floor folder fridge
fryingpan garbagecan hairproduct hanger keyboard kitchencabinet kitchencounter kitchencounterdrawer kitchentable
knifeblock lightswitch lime magazine microwave milk mouse mug nightstand notes orangelamp oventray painkillers paper
peach pear perfume phone photoframe pie pillow plate plum powersocket printer pudding radio razor remotecontrol rug
salmon sink sofa speaker stall stereo stove tablelamp toaster toilet toiletpaper toothbrush toothpaste towel tvstand
tv wallphone wallshelf wallpictureframe washingmachine washingsponge waterglass window wineglass
"""

_VIRTUALHOME_NAMES = {
    "bathroomcabinet": ("bathroom cabinet",),
    "bathroomcounter": ("bathroom counter",),
    "breadslice": ("bread slice", "bread"),
    "cellphone": ("cell phone", "mobile phone"),
    "coffeemaker": ("coffee maker", "coffee machine"),
    "coffeepot": ("coffee pot",),
    "coffeetable": ("coffee table",),
    "condimentbottle": ("condiment bottle",),
    "cookingpot": ("cooking pot", "pot"),
    "creditcard": ("credit card",),
    "cutleryfork": ("fork",),
    "cutleryknife": ("knife",),
    "dishbowl": ("dish bowl",),
    "dishwashingliquid": ("dish soap", "dishwashing liquid"),
    "fridge": ("fridge", "refrigerator"),
    "fryingpan": ("frying pan", "pan"),
    "garbagecan": ("garbage can", "trash can", "bin"),
    "kitchencabinet": ("kitchen cabinet", "cupboard"),
    "kitchencounter": ("kitchen counter", "counter"),
    "kitchencounterdrawer": ("kitchen drawer", "drawer"),
    "kitchentable": ("kitchen table", "table"),
    "lightswitch": ("light switch", "light"),
    "nightstand": ("night stand",),
    "remotecontrol": ("remote control", "remote"),
    "sofa": ("sofa", "couch"),
    "tablelamp": ("table lamp", "lamp"),
    "toiletpaper": ("toilet paper",),
    "tvstand": ("tv stand",),
    "tv": ("tv", "television"),
    "wallphone": ("wall phone",),
    "wallshelf": ("wall shelf", "shelf"),
    "washingmachine": ("washing machine",),
    "washingsponge": ("washing sponge", "sponge"),
    "waterglass": ("water glass", "glass"),
    "wineglass": ("wine glass",),
}

_VIRTUALHOME_INSIDE = """
bathroomcabinet bathtub bowl box bucket cabinet closet cookingpot dishbowl dishwasher dresser folder fridge
fryingpan garbagecan kitchencabinet kitchencounterdrawer microwave mug oventray sink stove toaster washingmachine
waterglass
"""

_SITTING = tuple(f"{verb} {where}" for verb in ("sit", "sit down", "take a seat") for where in ("on", "in", "at"))

_VIRTUALHOME_VERBS = (
    *_MOVES,
    Verb("walk to", ("approach", "find", "walk", "walktowards"), Takes.OBJECT, going=_GOING),
    Verb("grab", ("pick up", *_TAKING), Takes.OBJECT, ("pick",), "up"),
    Verb("put", _PLACING, Takes.PLACE, calls=(("putin", 2), ("putback", 2), ("put", 2))),
    Verb("open", (), Takes.OBJECT),
    Verb("close", ("shut",), Takes.OBJECT),
    Verb("sit on", ("sit", "take a seat", *_SITTING), Takes.OBJECT),
    Verb(
        "stand up",
        ("get up", "stand"),
        unless=("to", "on", "onto", "in", "at", "by", "near", "next", "beside", "behind"),
    ),
    Verb("switch on", ("turn on", "toggle on"), Takes.OBJECT, ("switch", "turn"), "on"),
    Verb("switch off", ("turn off", "toggle off"), Takes.OBJECT, ("switch", "turn"), "off"),
    _DONE,
)


@lru_cache(maxsize=2)
def language_of(simulator: Simulator) -> Language:
    """The language an actor of this simulator speaks."""
    if simulator == Simulator.THOR:
        nouns = {name: (spaced(name), *_THOR_OTHER_NAMES.get(name, ())) for name in _THOR_TYPES.split()}
        return Language(_THOR_VERBS, nouns, frozenset(_THOR_INSIDE.split()))
    nouns = {name: _VIRTUALHOME_NAMES.get(name, (name,)) for name in _VIRTUALHOME_TYPES.split()}
    return Language(_VIRTUALHOME_VERBS, nouns, frozenset(_VIRTUALHOME_INSIDE.split()))
