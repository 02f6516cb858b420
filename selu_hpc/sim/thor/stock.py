"""Which small things a room has, and where they first lie.

The known and the unknown world each have types, per kind of room, that never occur in the other.
Owns that choice. Does not own furniture (plans_*.py) or free spots (surfaces.py).
"""

from __future__ import annotations

from selu_hpc.sim.thor.builder import Builder
from selu_hpc.sim.thor.catalogue import MUST_BE_OPEN, spec

MOST = 60
_SURE = {
    "kitchen": "Microwave CoffeeMachine Toaster Apple Bread Egg Tomato Lettuce Potato Knife Fork Spoon ButterKnife "
    "Bowl Plate Cup Mug Pot Pan DishSponge SoapBottle SaltShaker PepperShaker",
    "living": "Laptop RemoteControl Book KeyChain CreditCard Pillow Box Watch CellPhone Bowl",
    "bedroom": "Laptop CellPhone Book Pillow Pen Pencil KeyChain CreditCard Cloth AlarmClock Mug",
    "bathroom": "SoapBar SoapBottle ToiletPaper Cloth DishSponge Plunger ScrubBrush SprayBottle",
}
_BOTH = {
    "kitchen": "Bottle Cup Plate Book Mug CreditCard",
    "living": "Plate Pencil Cloth Laptop HousePlant Box Book Pillow",
    "bedroom": "Book Box Bowl Pillow TissueBox Watch BasketBall Cloth",
    "bathroom": "ToiletPaper SoapBar Cloth HousePlant SoapBottle",
}
_KNOWN = {
    "kitchen": "PaperTowelRoll Spatula Statue AluminumFoil Vase CellPhone",
    "living": "Newspaper Statue TissueBox Pen Bottle",
    "bedroom": "CD BaseballBat Statue Boots Vase",
    "bathroom": "Candle TissueBox Boots",
}
_UNKNOWN = {
    "kitchen": "Kettle Ladle WineBottle HousePlant TableTopDecor Candle KeyChain",
    "living": "WateringCan Vase Candle TeddyBear TableTopDecor Dumbbell VacuumCleaner",
    "bedroom": "TeddyBear Dumbbell TennisRacket TableTopDecor Desktop HousePlant",
    "bathroom": "PaperTowelRoll Vase AlarmClock GarbageBag WateringCan",
}
_COLD = frozenset({"Apple", "Egg", "Lettuce", "Tomato", "Potato", "WineBottle", "Bottle"})
_LARGE_FLOOR = frozenset({"GarbageBag", "VacuumCleaner"})
_ON_FLOOR = frozenset({"Plunger", "Boots", "ScrubBrush", "BasketBall", "Dumbbell", "BaseballBat"})
_NARROW = frozenset(
    {"Mug", "Cup", "Plate", "Bowl", "Pot", "Pan", "StoveBurner", "CoffeeMachine", "Toaster", "Microwave", "Bathtub"}
)


def types_of(room: str, *, known: bool) -> frozenset[str]:
    """Every small type that can occur in a kind of room of a world."""
    own = _KNOWN if known else _UNKNOWN
    return frozenset(f"{_SURE[room]} {_BOTH[room]} {own[room]}".split())


def fill(b: Builder, room: str, *, known: bool) -> None:
    """Put small things into a furnished room, 60 objects in all at most."""
    rng = b.rng
    extra = _BOTH[room].split() + 2 * (_KNOWN if known else _UNKNOWN)[room].split()
    rng.shuffle(extra)
    wanted = [*_SURE[room].split(), *extra[: rng.randint(4, 9)]]
    for kind in wanted:
        if sum(not t.structural for t in b.things) >= MOST:
            return
        if kind in _LARGE_FLOOR:
            b.find_wall(kind, b.size(kind), clear=0.2, must=False)
        else:
            _put(b, kind)


def _put(b: Builder, kind: str) -> None:
    rng, facts = b.rng, spec(kind)
    yaw: float | None = None
    if "move" in facts.properties:
        found = b.of("CounterTop", "Desk", "Dresser", "SideTable", "DiningTable", "Shelf", *facts.places & {"Floor"})
        found = [r for r in found if r.kind in facts.places]
        for receptacle in found:
            if b.put(kind, [receptacle], yaw=receptacle.yaw):
                return
        return
    if kind in _ON_FLOOR and rng.random() < 0.7 and "Floor" in facts.places:
        b.put(kind, b.of("Floor"), yaw=yaw)
        return
    shut = b.of(*(facts.places & MUST_BE_OPEN))
    narrow = b.of(*(facts.places & _NARROW))
    surfaces = b.of(*(facts.places - MUST_BE_OPEN - _NARROW - {"Floor", "GarbageCan"}))
    roll = rng.random()
    fridge = b.of("Fridge") if kind in _COLD and "Fridge" in facts.places else []
    if fridge and roll < 0.45:
        first = fridge
    elif shut and roll < 0.25:
        first = shut
    elif narrow and roll > 0.88:
        first = narrow
    else:
        first = surfaces
    b.put(kind, [*first, *surfaces, *shut, *b.of("GarbageCan", "Floor")[:0]])
