# mypy: disable-error-code="no-untyped-def"
"""The pixel loops: a z-buffer over homogeneous triangles, then one shading pass over what is seen.

Triangles are set up from the inverse of their 3×3 matrix of projected vertices, so that every attribute over depth,
the edges and the near plane are linear functions of the pixel: triangles that cross the near plane need no clipping.
Compiled by numba and kept on disk (see `compile_cache`); releases the GIL. One long file on purpose: numba's cache of a
function does not notice that one it calls has changed in another file.
"""

from __future__ import annotations

import math
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from stat import S_ISDIR

import numpy as np

_NORMAL, _TWO_SIDED, _LIGHT, _UV, _COLOURS, _TEXTURE, _DENSITY = 9, 12, 13, 16, 22, 28, 29
"""Columns of a triangle: its corners' places come first; a light and a uv for each corner; two colours to mix."""
WIDTH_OF_TRIANGLE = 30
_LIGHT_PLANE, _U_PLANE, _V_PLANE = 0, 3, 6
"""Columns of a seen triangle's planes: light, u and v over depth, each a x + b y + c."""
WIDTH_OF_PLANES = 9
_EYE, _RIGHT, _UP, _AHEAD = 0, 3, 6, 9
"""Where a camera's place and axes begin."""


def compile_cache() -> str:
    """The folder numba keeps machine code in: as set by the user, else beside this file, else a private one in /tmp."""
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    if chosen:
        return chosen
    here = Path(__file__).parent
    if os.access(here, os.W_OK):
        return str(here / "__pycache__")
    fallback = Path(tempfile.gettempdir()) / f"selu_hpc-numba-{os.getuid()}"
    with suppress(FileExistsError):
        fallback.mkdir(mode=0o700)
    found = fallback.lstat()
    if not S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        fallback = Path(tempfile.mkdtemp(prefix=f"{fallback.name}-"))  # machine code of others is not run
    os.environ["NUMBA_CACHE_DIR"] = str(fallback)
    return str(fallback)


compile_cache()
import numba  # noqa: E402  the cache folder must be known before numba is loaded

numba.config.CACHE_DIR = os.environ.get("NUMBA_CACHE_DIR", "")
_jit = numba.njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
"""Without fastmath, which draws other last bits on every kind of CPU and is no faster."""
_part = numba.njit(nogil=True, error_model="numpy", boundscheck=False, forceinline=True)
"""A piece of a loop, put in its place: a call for each triangle or run of pixels would cost as much as the piece.
Arrays are handed over whole, with a row's number: views of the row for each run make shading seven per cent slower."""

_EDGE_SLACK = 1e-4
_RUN_LENGTH = 64


@_jit
def light_up(position, normal, uv, shade, colours, texture, density, glow, two_sided, sine, cosine, at, lights, out):
    """A mesh turned about y, moved and lit: the rows of `out`.

    lights: direction and strength of the key and of the fill light, ambient, tint of red, green and blue.
    """
    for t in range(position.shape[0]):
        row = out[t]
        mean_x = np.float32(0.0)
        mean_y = np.float32(0.0)
        mean_z = np.float32(0.0)
        lit = min(glow[t], np.float32(1.0))
        for k in range(3):
            x = position[t, k, 0]
            z = position[t, k, 2]
            row[3 * k] = x * cosine + z * sine + at[0]
            row[3 * k + 1] = position[t, k, 1] + at[1]
            row[3 * k + 2] = z * cosine - x * sine + at[2]
            nx = normal[t, k, 0] * cosine + normal[t, k, 2] * sine
            ny = normal[t, k, 1]
            nz = normal[t, k, 2] * cosine - normal[t, k, 0] * sine
            mean_x += nx
            mean_y += ny
            mean_z += nz
            key = max(nx * lights[0] + ny * lights[1] + nz * lights[2], np.float32(0.0)) * lights[3]
            fill = max(nx * lights[4] + ny * lights[5] + nz * lights[6], np.float32(0.0)) * lights[7]
            strength = (lights[8] + np.float32(0.10) * ny + key + fill) * shade[t, k]
            row[_LIGHT + k] = strength * (np.float32(1.0) - lit) + glow[t]
        ax = row[3] - row[0]
        ay = row[4] - row[1]
        az = row[5] - row[2]
        bx = row[6] - row[0]
        by = row[7] - row[1]
        bz = row[8] - row[2]
        fx = ay * bz - az * by
        fy = az * bx - ax * bz
        fz = ax * by - ay * bx
        length = math.sqrt(fx * fx + fy * fy + fz * fz)
        scale = 1.0 / max(length, 1e-12)
        if fx * mean_x + fy * mean_y + fz * mean_z < 0.0:
            scale = -scale
        row[_NORMAL] = fx * scale
        row[_NORMAL + 1] = fy * scale
        row[_NORMAL + 2] = fz * scale
        row[_TWO_SIDED] = two_sided[t]
        for c in range(2):
            low = math.floor(min(uv[t, 0, c], uv[t, 1, c], uv[t, 2, c]))
            for k in range(3):
                row[_UV + 2 * k + c] = uv[t, k, c] - low
        for c in range(6):
            row[_COLOURS + c] = colours[t, c] * lights[9 + c % 3]
        row[_TEXTURE] = texture[t]
        row[_DENSITY] = density[t]


@_part
def _dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@_part
def _cross(a, b):
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


@_part
def _axis(camera, first):
    return camera[first], camera[first + 1], camera[first + 2]


@_jit
def cull_and_sort(spheres, camera, tan_x, tan_y, far, order):
    """Writes the drawables that may be seen into `order`, nearest first; returns how many."""
    count = 0
    num = spheres.shape[0]
    distance = np.empty(num, np.float32)
    side_x = math.sqrt(1.0 + tan_x * tan_x)
    side_y = math.sqrt(1.0 + tan_y * tan_y)
    eye = _axis(camera, _EYE)
    for i in range(num):
        radius = spheres[i, 3]
        to = (spheres[i, 0] - eye[0], spheres[i, 1] - eye[1], spheres[i, 2] - eye[2])
        z = _dot(to, _axis(camera, _AHEAD))
        if z < -radius or z - radius > far:
            continue
        x = abs(_dot(to, _axis(camera, _RIGHT)))
        y = abs(_dot(to, _axis(camera, _UP)))
        if (x - tan_x * z) > radius * side_x or (y - tan_y * z) > radius * side_y:
            continue
        near = z - radius if radius < 2.0 else 1e3 + z
        j = count
        while j > 0 and distance[j - 1] > near:
            distance[j] = distance[j - 1]
            order[j] = order[j - 1]
            j -= 1
        distance[j] = near
        order[j] = i
        count += 1
    return count


@_part
def _corner(tris, t, k, eye):
    """One of a triangle's corners as seen from the eye."""
    return tris[t, 3 * k] - eye[0], tris[t, 3 * k + 1] - eye[1], tris[t, 3 * k + 2] - eye[2]


@_part
def _projected(tris, t, axes, focal, near, width, height):
    """The corners as (x z, y z, z) in pixels, and whether the triangle faces the camera and may be in the picture."""
    eye, right, up, ahead = axes
    half_w = 0.5 * width
    half_h = 0.5 * height
    nothing = (0.0, 0.0, 0.0)
    a = _corner(tris, t, 0, eye)
    normal = (tris[t, _NORMAL], tris[t, _NORMAL + 1], tris[t, _NORMAL + 2])
    if tris[t, _TWO_SIDED] == np.float32(0.0) and _dot(normal, a) >= 0.0:
        return False, nothing, nothing, nothing
    b = _corner(tris, t, 1, eye)
    c = _corner(tris, t, 2, eye)
    za = _dot(a, ahead)
    zb = _dot(b, ahead)
    zc = _dot(c, ahead)
    if za < near and zb < near and zc < near:
        return False, nothing, nothing, nothing
    xa = focal * _dot(a, right) + half_w * za
    xb = focal * _dot(b, right) + half_w * zb
    xc = focal * _dot(c, right) + half_w * zc
    if xa < 0.0 and xb < 0.0 and xc < 0.0:
        return False, nothing, nothing, nothing
    if xa > width * za and xb > width * zb and xc > width * zc:
        return False, nothing, nothing, nothing
    ya = half_h * za - focal * _dot(a, up)
    yb = half_h * zb - focal * _dot(b, up)
    yc = half_h * zc - focal * _dot(c, up)
    return True, (xa, ya, za), (xb, yb, zb), (xc, yc, zc)


@_part
def _reach(low, high, start, end, near):
    """The bounds of y, made to hold what of an edge is not nearer than `near`: one corner of it and the cut."""
    if start[2] >= near:
        low = min(low, start[1] / start[2])
        high = max(high, start[1] / start[2])
    if (start[2] >= near) != (end[2] >= near):
        cut = (start[1] + (near - start[2]) / (end[2] - start[2]) * (end[1] - start[1])) / near
        low = min(low, cut)
        high = max(high, cut)
    return low, high


@_part
def _rows(a, b, c, near, height, crosses):
    """The first row a projected triangle may be seen in and the one after the last."""
    if crosses:
        low, high = _reach(1e9, -1e9, a, b, near)
        low, high = _reach(low, high, b, c, near)
        low, high = _reach(low, high, c, a, near)
    else:
        i0 = 1.0 / a[2]
        i1 = 1.0 / b[2]
        i2 = 1.0 / c[2]
        low = min(a[1] * i0, b[1] * i1, c[1] * i2)
        high = max(a[1] * i0, b[1] * i1, c[1] * i2)
        first = min(a[0] * i0, b[0] * i1, c[0] * i2)
        last = max(a[0] * i0, b[0] * i1, c[0] * i2)
        if math.ceil(first - 0.5 - _EDGE_SLACK) > math.floor(last - 0.5 + _EDGE_SLACK):
            return 0, 0
    y0 = max(math.ceil(max(low, 0.0) - 0.5 - _EDGE_SLACK), 0)
    y1 = min(math.floor(min(high, height + 1.0) - 0.5 + _EDGE_SLACK) + 1, height)
    return y0, y1


@_part
def _weight(cross, inverse):
    """A corner's share over depth as a x + b y + c of pixels' numbers: their middles lie half a pixel further."""
    a = cross[0] * inverse
    b = cross[1] * inverse
    return a, b, cross[2] * inverse + 0.5 * (a + b)


@_part
def _edge(a, b, c):
    """An edge as a bound of x in row y: which side (1 left, -1 right, 0 neither), and slope and base of the bound.

    An edge is a x + b y + c >= 0. Where a > 0 it bounds x from the left, where a < 0 from the right.
    """
    if a > 1e-14:
        return 1, -b / a, -c / a - _EDGE_SLACK
    if a < -1e-14:
        return -1, -b / a, -c / a + _EDGE_SLACK
    return 0, b, c


@_part
def _span(edges, y, width):
    """The first pixel between the four edges in a row and the one after the last; equal where there is none."""
    e0, e1, e2, e3 = edges
    v0 = e0[1] * y + e0[2]
    v1 = e1[1] * y + e1[2]
    v2 = e2[1] * y + e2[2]
    v3 = e3[1] * y + e3[2]
    left = max(
        v0 if e0[0] > 0 else 0.0,
        v1 if e1[0] > 0 else 0.0,
        v2 if e2[0] > 0 else 0.0,
        v3 if e3[0] > 0 else 0.0,
    )
    right = min(
        v0 if e0[0] < 0 else width - 1.0,
        v1 if e1[0] < 0 else width - 1.0,
        v2 if e2[0] < 0 else width - 1.0,
        v3 if e3[0] < 0 else width - 1.0,
    )
    if left > right:
        return 0, 0
    if (
        (e0[0] == 0 and v0 < -1e-12)
        or (e1[0] == 0 and v1 < -1e-12)
        or (e2[0] == 0 and v2 < -1e-12)
        or (e3[0] == 0 and v3 < -1e-12)
    ):
        return 0, 0
    return math.ceil(left), math.floor(right) + 1


@_part
def _fill(rows, edges, inverse_z, number, ramp, w_buffer, t_buffer):
    """Draws a triangle where it is nearer than what is there; returns whether it met any pixel at all."""
    touched = False
    width = w_buffer.shape[1]
    w_step = np.float32(inverse_z[0])
    for y in range(rows[0], rows[1]):
        x0, x1 = _span(edges, y, width)
        if x0 >= x1:
            continue
        w0 = np.float32(inverse_z[0] * x0 + inverse_z[1] * y + inverse_z[2])
        for x in range(x0, x1):
            w = w0 + w_step * ramp[x - x0]
            seen = w > w_buffer[y, x]
            w_buffer[y, x] = w if seen else w_buffer[y, x]
            t_buffer[y, x] = number if seen else t_buffer[y, x]
        touched = True
    return touched


@_part
def _keep_plane(tris, t, first, step, weights, planes, row, at):
    """What has a value at each corner, in columns `step` apart, as a plane over depth."""
    v0 = tris[t, first]
    v1 = tris[t, first + step]
    v2 = tris[t, first + 2 * step]
    p, q, r = weights
    planes[row, at] = v0 * p[0] + v1 * q[0] + v2 * r[0]
    planes[row, at + 1] = v0 * p[1] + v1 * q[1] + v2 * r[1]
    planes[row, at + 2] = v0 * p[2] + v1 * q[2] + v2 * r[2]


@_jit
def rasterise(tris, starts, ends, order, num_order, camera, focal, near, w_buffer, t_buffer, planes, sources):
    """Fills the buffers of 1/z and of seen-triangle numbers; returns how many triangles got a number.

    Written without small arrays: they would live in memory, and setting triangles up is what a small picture costs.
    """
    height, width = w_buffer.shape
    max_w = 1.0 / near
    axes = (_axis(camera, _EYE), _axis(camera, _RIGHT), _axis(camera, _UP), _axis(camera, _AHEAD))
    ramp = np.arange(width).astype(np.float32)
    used = 0
    for o in range(num_order):
        d = order[o]
        for t in range(starts[d], ends[d]):
            seen, a, b, c = _projected(tris, t, axes, focal, near, width, height)
            if not seen:
                continue
            crosses = a[2] < near or b[2] < near or c[2] < near
            rows = _rows(a, b, c, near, height, crosses)
            if rows[0] >= rows[1]:
                continue
            from_a = _cross(b, c)
            det = _dot(from_a, a)
            if abs(det) < 1e-7:
                continue
            inverse = 1.0 / det
            weights = (_weight(from_a, inverse), _weight(_cross(c, a), inverse), _weight(_cross(a, b), inverse))
            p, q, r = weights
            wa, wb, wc = p[0] + q[0] + r[0], p[1] + q[1] + r[1], p[2] + q[2] + r[2]
            edges = (
                _edge(p[0], p[1], p[2]),
                _edge(q[0], q[1], q[2]),
                _edge(r[0], r[1], r[2]),
                _edge(-wa, -wb, max_w - wc) if crosses else (1, 0.0, -1.0),
            )
            if _fill(rows, edges, (wa, wb, wc), np.int32(used), ramp, w_buffer, t_buffer):
                _keep_plane(tris, t, _LIGHT, 1, weights, planes, used, _LIGHT_PLANE)
                if tris[t, _TEXTURE] != np.float32(0.0):
                    _keep_plane(tris, t, _UV, 2, weights, planes, used, _U_PLANE)
                    _keep_plane(tris, t, _UV + 1, 2, weights, planes, used, _V_PLANE)
                sources[used, 0] = t
                sources[used, 1] = d
                used += 1
    return used


@_part
def _run_end(t_buffer, y, x, width):
    """Where the pixels from `x` on that show one triangle end, or are to be cut."""
    number = t_buffer[y, x]
    end = x + 1
    limit = min(width, x + _RUN_LENGTH)
    while end < limit and t_buffer[y, end] == number:
        end += 1
    return end


@_part
def _packed(red, green, blue):
    """A colour in a word; what is brighter than white is white."""
    top = np.float32(255.0)
    r = np.uint32(np.int32(min(red, top)))
    g = np.uint32(np.int32(min(green, top)))
    b = np.uint32(np.int32(min(blue, top)))
    return r | (g << np.uint32(8)) | (b << np.uint32(16))


@_part
def _shade_plain(tris, t, lit, key, y, x, end, ramp, w_buffer, packed, depth, ids):
    """A run of pixels of one colour."""
    red, green, blue = tris[t, _COLOURS], tris[t, _COLOURS + 1], tris[t, _COLOURS + 2]
    for i in range(x, end):
        z = np.float32(1.0) / w_buffer[y, i]
        light = max((lit[0] * ramp[i] + lit[1]) * z, np.float32(0.0))
        packed[i] = _packed(red * light, green * light, blue * light)
        depth[y, i] = z
        ids[y, i] = key


@_part
def _in_row(planes, number, at, y):
    """A plane over depth in one row: a x + c."""
    return planes[number, at], planes[number, at + 1] * np.float32(y) + planes[number, at + 2]


@_part
def _level(density, w, side, focal):
    """Which of a texture's sizes has about one texel for each pixel."""
    footprint = density * np.float32(side) / (w * np.float32(focal))
    level = 0
    while footprint > np.float32(1.3) and level < 6:
        footprint *= np.float32(0.5)
        level += 1
    return level


@_part
def _fetch(planes, number, y, x, end, ramp, w_buffer, atlas, texture, level, offset, side, index, mixes, depth):
    """A run's depth, and how its two colours mix. In steps, so that all but the fetching loop become vector code."""
    shift = np.int32(7 - level)
    mask = np.int32(side - 1) >> np.int32(level)
    size = np.float32(side >> level)
    ua, uc = _in_row(planes, number, _U_PLANE, y)
    va, vc = _in_row(planes, number, _V_PLANE, y)
    ua *= size
    uc *= size
    va *= size
    vc *= size
    for i in range(x, end):
        z = np.float32(1.0) / w_buffer[y, i]
        depth[y, i] = z
        u = np.int32((ua * ramp[i] + uc) * z) & mask
        v = np.int32((va * ramp[i] + vc) * z) & mask
        index[i] = offset + np.int32(v << shift) + u
    for i in range(x, end):
        mixes[i] = atlas[texture, index[i]]


@_part
def _shade_mixed(tris, t, lit, key, y, x, end, ramp, mixes, packed, depth, ids):
    """A run of pixels whose two colours are mixed; their depth is there already."""
    ar, ag, ab = tris[t, _COLOURS], tris[t, _COLOURS + 1], tris[t, _COLOURS + 2]
    dr = tris[t, _COLOURS + 3] - ar
    dg = tris[t, _COLOURS + 4] - ag
    db = tris[t, _COLOURS + 5] - ab
    for i in range(x, end):
        light = max((lit[0] * ramp[i] + lit[1]) * depth[y, i], np.float32(0.0))
        mix = mixes[i]
        packed[i] = _packed((ar + dr * mix) * light, (ag + dg * mix) * light, (ab + db * mix) * light)
        ids[y, i] = key


@_part
def _shade_sky(sky, far, y, x, end, packed, depth, ids):
    for i in range(x, end):
        packed[i] = sky
        depth[y, i] = far
        ids[y, i] = 0


@_part
def _write_words(packed, word_row, width):
    """Four pixels in three words."""
    for k in range(width >> 2):
        c0 = packed[4 * k]
        c1 = packed[4 * k + 1]
        c2 = packed[4 * k + 2]
        c3 = packed[4 * k + 3]
        word_row[3 * k] = c0 | (c1 << np.uint32(24))
        word_row[3 * k + 1] = (c1 >> np.uint32(8)) | (c2 << np.uint32(16))
        word_row[3 * k + 2] = (c2 >> np.uint32(16)) | (c3 << np.uint32(8))


@_part
def _write_bytes(packed, rgb_row, width):
    for i in range(width):
        colour = packed[i]
        rgb_row[i, 0] = np.uint8(colour)
        rgb_row[i, 1] = np.uint8(colour >> np.uint32(8))
        rgb_row[i, 2] = np.uint8(colour >> np.uint32(16))


@_jit
def shade(tris, keys, w_buffer, t_buffer, planes, sources, atlas, offsets, side, focal, far, background,
          rgb, words, depth, ids, rows):  # fmt: skip
    """Colours, depth and keys from the seen triangles, in the rows marked in `rows`."""
    height, width = w_buffer.shape
    sky = (
        np.uint32(background[0])
        | (np.uint32(background[1]) << np.uint32(8))
        | (np.uint32(background[2]) << np.uint32(16))
    )
    packed = np.empty(width, np.uint32)
    index = np.empty(width, np.int32)
    mixes = np.empty(width, np.float32)
    ramp = np.arange(width).astype(np.float32)
    for y in range(height):
        if rows[y] == 0:
            continue
        end = 0
        while end < width:
            x = end
            end = _run_end(t_buffer, y, x, width)
            number = t_buffer[y, x]
            if number < 0:
                _shade_sky(sky, far, y, x, end, packed, depth, ids)
                continue
            t = sources[number, 0]
            key = keys[sources[number, 1]]
            lit = _in_row(planes, number, _LIGHT_PLANE, y)
            if tris[t, _TEXTURE] == np.float32(0.0):
                _shade_plain(tris, t, lit, key, y, x, end, ramp, w_buffer, packed, depth, ids)
            else:
                level = _level(tris[t, _DENSITY], w_buffer[y, (x + end) >> 1], side, focal)
                texture = np.int32(tris[t, _TEXTURE])
                _fetch(planes, number, y, x, end, ramp, w_buffer, atlas, texture, level, np.int32(offsets[level]), side,
                       index, mixes, depth)  # fmt: skip
                _shade_mixed(tris, t, lit, key, y, x, end, ramp, mixes, packed, depth, ids)
        if words.shape[0] > 0:
            _write_words(packed, words[y], width)
        else:
            _write_bytes(packed, rgb[y], width)


@_jit
def halve(rgb, depth, ids, out_rgb, out_depth, out_ids, rows):
    """Average 2×2 colours; depth and key are those of one of the four. Only where one of two rows is marked."""
    for y in range(out_depth.shape[0]):
        if rows[2 * y] == 0 and rows[2 * y + 1] == 0:
            continue
        a = rgb[2 * y]
        b = rgb[2 * y + 1]
        for x in range(out_depth.shape[1]):
            for c in range(3):
                total = np.int32(a[2 * x, c]) + np.int32(a[2 * x + 1, c])
                total += np.int32(b[2 * x, c]) + np.int32(b[2 * x + 1, c])
                out_rgb[y, x, c] = np.uint8((total + 2) >> 2)
            out_depth[y, x] = depth[2 * y + 1, 2 * x + 1]
            out_ids[y, x] = ids[2 * y + 1, 2 * x + 1]


@_jit
def draw(tris, starts, ends, keys, spheres, camera, focal, tan_x, tan_y, near, far, atlas, offsets, side,
         background, planes, sources, order, w_buffer, t_buffer, rgb, words, depth, ids, rows):  # fmt: skip
    """One view."""
    w_buffer[:] = np.float32(1.0 / far)
    t_buffer[:] = np.int32(-1)
    rows[:] = np.uint8(1)
    count = cull_and_sort(spheres, camera, tan_x, tan_y, far, order)
    rasterise(tris, starts, ends, order, count, camera, focal, near, w_buffer, t_buffer, planes, sources)
    shade(tris, keys, w_buffer, t_buffer, planes, sources, atlas, offsets, side, focal, far, background, rgb, words,
          depth, ids, rows)  # fmt: skip


@_jit
def draw_still(tris, starts, ends, spheres, camera, focal, tan_x, tan_y, near, far, moving, planes, sources, order,
               w_buffer, t_buffer):  # fmt: skip
    """The buffers of a view without what is marked in `moving`; returns how many triangles got a number."""
    w_buffer[:] = np.float32(1.0 / far)
    t_buffer[:] = np.int32(-1)
    count = cull_and_sort(spheres, camera, tan_x, tan_y, far, order)
    kept = 0
    for i in range(count):
        if moving[order[i]] == 0:
            order[kept] = order[i]
            kept += 1
    return rasterise(tris, starts, ends, order, kept, camera, focal, near, w_buffer, t_buffer, planes, sources)


@_jit
def draw_moving(tris, starts, ends, keys, spheres, camera, focal, tan_x, tan_y, near, far, atlas, offsets, side,
                background, moving, planes, sources, order, still_w, still_t, num_still, w_buffer, t_buffer,
                was, rgb, words, depth, ids, rows):  # fmt: skip
    """What is marked in `moving` over the buffers of the rest, shaded where it is and where it was (`was`: rows).

    Of equally near triangles the one drawn first is seen, as if all had been drawn in one go.
    """
    height, width = w_buffer.shape
    w_buffer[:] = np.float32(1.0 / far)
    t_buffer[:] = np.int32(-1)
    count = cull_and_sort(spheres, camera, tan_x, tan_y, far, order)
    rank = np.full(spheres.shape[0], count, np.int64)
    kept = 0
    for i in range(count):
        d = order[i]
        rank[d] = i
        if moving[d] != 0:
            order[kept] = d
            kept += 1
    rasterise(tris, starts, ends, order, kept, camera, focal, near, w_buffer, t_buffer, planes[num_still:],
              sources[num_still:])  # fmt: skip
    base = np.int32(num_still)
    for y in range(height):
        w_row = w_buffer[y]
        t_row = t_buffer[y]
        most = np.int32(-1)
        for x in range(width):
            most = max(most, t_row[x])
        now = np.uint8(1) if most >= 0 else np.uint8(0)
        rows[y] = now | was[y]
        was[y] = now
        if rows[y] == 0:
            continue
        w_still = still_w[y]
        t_still = still_t[y]
        for x in range(width):
            t = t_row[x]
            behind = t < 0 or w_row[x] < w_still[x]
            if not behind and w_row[x] == w_still[x] and t_still[x] >= 0:
                behind = rank[sources[t_still[x], 1]] < rank[sources[t + base, 1]]
            w_row[x] = w_still[x] if behind else w_row[x]
            t_row[x] = t_still[x] if behind else t + base
    shade(tris, keys, w_buffer, t_buffer, planes, sources, atlas, offsets, side, focal, far, background, rgb, words,
          depth, ids, rows)  # fmt: skip
