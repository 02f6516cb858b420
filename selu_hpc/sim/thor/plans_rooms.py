"""Living rooms, bedrooms and bathrooms: their furniture. Small things come from stock.py."""

from __future__ import annotations

from selu_hpc.sim.thor import plans_kitchen
from selu_hpc.sim.thor.builder import WALL_YAW, Builder
from selu_hpc.sim.thor.catalogue import spec
from selu_hpc.sim.thor.thing import Thing


def living_room(b: Builder) -> None:
    """A sofa facing a television, tables, lamps, perhaps a place to eat."""
    rng = b.rng
    stand = b.find_wall("TVStand", b.size("TVStand"), clear=0.6)
    assert stand is not None
    drawers(b, stand, rows=1, columns=2)
    wall = WALL_YAW.index(stand.yaw)
    sofa = b.find_wall("Sofa", b.size("Sofa"), walls=((wall + 2) % 4, (wall + 1) % 4, (wall + 3) % 4), clear=0.6)
    assert sofa is not None
    b.find_floor("CoffeeTable", b.size("CoffeeTable"), near=_between(stand, sofa), must=False)
    for _ in range(rng.randint(1, 2)):
        b.find_wall("ArmChair", b.size("ArmChair"), must=False)
    for _ in range(rng.randint(1, 2)):
        table = b.find_wall("SideTable", b.size("SideTable"), clear=0.4, must=False)
        if table is not None and rng.random() < 0.7:
            drawers(b, table, rows=1, columns=1, top=0.06)
    if rng.random() < 0.7:
        dresser = b.find_wall("Dresser", b.size("Dresser"), must=False)
        if dresser is not None:
            drawers(b, dresser, rows=2, columns=2)
    if rng.random() < 0.5:
        b.find_wall("ShelvingUnit", b.size("ShelvingUnit"), must=False)
    if rng.random() < 0.6:
        table = b.find_wall("DiningTable", b.size("DiningTable"), clear=0.3, must=False)
        for _ in range(rng.randint(1, 3) if table else 0):
            b.find_wall("Chair", b.size("Chair"), clear=0.3, must=False)
    b.find_wall("FloorLamp", b.size("FloorLamp"), clear=0.2)
    if rng.random() < 0.5:
        b.find_floor("Ottoman", b.size("Ottoman"), must=False)
    b.find_wall("GarbageCan", b.size("GarbageCan"), clear=0.2)
    if rng.random() < 0.4:
        b.find_wall("RoomDecor", b.size("RoomDecor"), clear=0.2, must=False)
    if rng.random() < 0.3:
        b.find_wall("DogBed", b.size("DogBed"), clear=0.2, must=False)
    if rng.random() < 0.3:
        b.find_wall("Safe", b.size("Safe"), clear=0.4, must=False)
    b.put("Television", [stand], yaw=stand.yaw, must=True)
    lamps(b)
    walls(b, window="Curtains" if rng.random() < 0.5 else "Blinds", pictures=2)
    shelves(b, 1)


def bedroom(b: Builder) -> None:
    """A bed with something beside it, a desk or a dresser, a chair."""
    rng = b.rng
    bed = b.find_wall("Bed", b.size("Bed"), clear=0.5)
    assert bed is not None
    for _ in range(rng.randint(1, 2)):
        table = b.find_wall("SideTable", b.size("SideTable"), clear=0.35, must=False)
        if table is not None:
            drawers(b, table, rows=1, columns=1, top=0.06)
    desk = b.find_wall("Desk", b.size("Desk"), clear=0.5, must=False)
    if desk is not None:
        drawers(b, desk, rows=1, columns=2, top=0.06)
        b.find_wall("Chair", b.size("Chair"), clear=0.3, must=False)
    if desk is None or rng.random() < 0.7:
        dresser = b.find_wall("Dresser", b.size("Dresser"), must=desk is None)
        if dresser is not None:
            drawers(b, dresser, rows=3, columns=2)
    if rng.random() < 0.4:
        b.find_wall("ArmChair", b.size("ArmChair"), must=False)
    if rng.random() < 0.5:
        b.find_wall("LaundryHamper", b.size("LaundryHamper"), clear=0.3, must=False)
    if rng.random() < 0.3:
        b.find_wall("Safe", b.size("Safe"), clear=0.4, must=False)
    if rng.random() < 0.4:
        b.find_wall("FloorLamp", b.size("FloorLamp"), clear=0.2, must=False)
    if rng.random() < 0.4:
        b.find_wall("Footstool", b.size("Footstool"), clear=0.2, must=False)
    b.find_wall("GarbageCan", b.size("GarbageCan"), clear=0.2)
    lamps(b)
    walls(b, window="Blinds" if rng.random() < 0.6 else "Curtains", pictures=1)
    if rng.random() < 0.7:
        b.on_wall("Mirror", None, None, y=1.1, must=False)
    if rng.random() < 0.5:
        b.on_wall("Poster", None, None, y=1.2, must=False)
    shelves(b, 2)


def bathroom(b: Builder) -> None:
    """A vanity with a mirror, a toilet, a bath or a shower, holders on the walls."""
    rng = b.rng
    wall = rng.choice([w for w in range(4) if w != b.door_wall])
    width = min(b.room.length(wall) - 0.1, rng.uniform(1.3, 1.9))
    low = b.room.start(wall) + rng.uniform(0.0, b.room.length(wall) - width)
    sink_at, wet = low + width * rng.uniform(0.42, 0.58), 0.66
    for a, z in ((low, sink_at - wet / 2), (sink_at + wet / 2, low + width)):
        plans_kitchen.run(b, wall, a, z)
    plans_kitchen.basin(b, wall, sink_at, wet)
    b.on_wall("Mirror", wall, sink_at, y=1.22, size=(0.66, 0.78, 0.04), must=False)
    toilet = b.find_wall("Toilet", b.size("Toilet", vary=0.04), clear=0.5)
    assert toilet is not None
    _bath(b)
    b.find_wall("GarbageCan", tuple(0.8 * s for s in b.size("GarbageCan")), clear=0.2)  # type: ignore[arg-type]
    paper = b.on_wall("ToiletPaperHanger", None, None, y=0.75, size=spec("ToiletPaperHanger").size, below=0.15)
    towels = b.on_wall("TowelHolder", None, None, y=1.3, size=spec("TowelHolder").size, below=0.65)
    hand = b.on_wall("HandTowelHolder", None, None, y=1.3, size=spec("HandTowelHolder").size, below=0.35)
    for kind, holder in (("ToiletPaper", paper), ("Towel", towels), ("HandTowel", hand)):
        if holder is not None:
            b.put(kind, [holder], yaw=holder.yaw)
    b.on_wall("LightSwitch", b.door_wall, None, y=1.15)
    if rng.random() < 0.5:
        b.find_wall("LaundryHamper", b.size("LaundryHamper"), clear=0.3, must=False)
    if rng.random() < 0.5:
        b.on_wall("Painting", None, None, y=1.4, size=(0.5, 0.4, 0.04), must=False)
    shelves(b, 1)


def _bath(b: Builder) -> None:
    """A bathtub with its basin, tap and curtain where it fits, else a shower."""
    tub = b.find_wall("Bathtub", b.size("Bathtub", vary=0.03), clear=0.5, must=False)
    if tub is not None:
        w, h, d = tub.size
        inner = (w - 0.16, h - 0.12, d - 0.16)
        pool = b.add("BathtubBasin", tub.to_world(0, 0.10 + inner[1] / 2, 0), tub.yaw, inner, mount="wall", owner=tub)
        fw, fh, fd = spec("Faucet").size
        tap = b.add("Faucet", tub.to_world(0, h + 0.12 + fh / 2, -d / 2 + fd / 2), tub.yaw, (fw, fh, fd), mount="wall")
        tap.controls = [pool]
        _shower_head(b, tub.to_world(-w * 0.3, 0, -d / 2), tub.yaw)
        if b.rng.random() < 0.6:
            size = (w * 0.95, 1.55, 0.06)
            curtain = b.add(
                "ShowerCurtain", tub.to_world(0, 0.42 + 1.55 / 2, d / 2 + 0.05), tub.yaw, size, mount="wall"
            )
            curtain.openness = 1.0
        return
    stall = b.find_wall("ShowerGlass", (0.95, 1.95, 0.05), clear=0.6, off=0.85, must=False)
    if stall is not None:
        _shower_head(b, stall.to_world(0, 0, -0.9), stall.yaw)
        door = (0.8, 1.95, 0.05)
        centre = stall.to_world(0.92, 1.95 / 2, 0)
        if b.free(centre, stall.yaw, door):
            b.add("ShowerDoor", centre, stall.yaw, door, mount="wall")


def _shower_head(b: Builder, at: tuple[float, float, float], yaw: float) -> None:
    """High on the wall at a point, a little to the side of it where something is in the way."""
    w, h, d = spec("ShowerHead").size
    s, c = {0: (0, 1), 90: (1, 0), 180: (0, -1), 270: (-1, 0)}[int(yaw) % 360]
    for aside in (0.0, 0.2, -0.2, 0.4, -0.4):
        centre = (at[0] + s * d / 2 + c * aside, 1.95, at[2] + c * d / 2 - s * aside)
        if b.free(centre, yaw, (w, h, d)):
            b.add("ShowerHead", centre, yaw, (w, h, d), mount="wall")
            return


def drawers(b: Builder, owner: Thing, *, rows: int, columns: int, top: float = 0.05) -> None:
    """Drawers in a piece of furniture; their fronts stand out a little."""
    w, h, d = owner.size
    under = h - top - 0.01
    height = min(0.2, (under - 0.04) / rows)
    width = (w - 0.08) / columns
    for row in range(rows):
        for column in range(columns):
            x = (column - (columns - 1) / 2) * width
            y = under - height * row - height / 2
            size = (width - 0.02, height - 0.012, d - 0.02)
            b.add("Drawer", owner.to_world(x, y, 0.025), owner.yaw, size, mount="wall")


def lamps(b: Builder) -> None:
    b.put("DeskLamp", b.of("SideTable", "Desk", "Dresser"))


def walls(b: Builder, *, window: str, pictures: int) -> None:
    """A window with its curtain or blinds, pictures, the light switch."""
    b.on_wall("LightSwitch", b.door_wall, None, y=1.15)
    if window == "Blinds":
        b.on_wall("Blinds", None, None, y=1.0, must=False)
    else:
        b.on_wall("Window", None, None, y=1.0, must=False)
        b.on_wall("Curtains", None, None, y=0.8, must=False)
    for _ in range(pictures):
        b.on_wall("Painting", None, None, y=b.rng.uniform(1.25, 1.45), must=False)


def shelves(b: Builder, most: int) -> None:
    for _ in range(b.rng.randint(0, most)):
        b.on_wall("Shelf", None, None, y=b.rng.uniform(1.15, 1.35), must=False)


def _between(a: Thing, c: Thing) -> tuple[float, float, float]:
    return ((a.centre[0] + c.centre[0]) / 2, 0.0, (a.centre[2] + c.centre[2]) / 2)
