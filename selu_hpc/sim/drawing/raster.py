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

WIDTH_OF_TRIANGLE = 30
"""0-8 position, 9-11 normal, 12 two-sided, 13-15 light, 16-21 uv, 22-27 colours a and b, 28 texture, 29 density."""
WIDTH_OF_PLANES = 9
"""Light, u and v over depth: each a x + b y + c."""


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
            row[13 + k] = strength * (np.float32(1.0) - lit) + glow[t]
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
        row[9] = fx * scale
        row[10] = fy * scale
        row[11] = fz * scale
        row[12] = two_sided[t]
        for c in range(2):
            low = math.floor(min(uv[t, 0, c], uv[t, 1, c], uv[t, 2, c]))
            for k in range(3):
                row[16 + 2 * k + c] = uv[t, k, c] - low
        for c in range(6):
            row[22 + c] = colours[t, c] * lights[9 + c % 3]
        row[28] = texture[t]
        row[29] = density[t]


@_jit
def cull_and_sort(spheres, camera, tan_x, tan_y, far, order):
    """Writes the drawables that may be seen into `order`, nearest first; returns how many."""
    count = 0
    num = spheres.shape[0]
    distance = np.empty(num, np.float32)
    side_x = math.sqrt(1.0 + tan_x * tan_x)
    side_y = math.sqrt(1.0 + tan_y * tan_y)
    for i in range(num):
        radius = spheres[i, 3]
        dx = spheres[i, 0] - camera[0]
        dy = spheres[i, 1] - camera[1]
        dz = spheres[i, 2] - camera[2]
        z = dx * camera[9] + dy * camera[10] + dz * camera[11]
        if z < -radius or z - radius > far:
            continue
        x = abs(dx * camera[3] + dy * camera[4] + dz * camera[5])
        y = abs(dx * camera[6] + dy * camera[7] + dz * camera[8])
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


@_jit
def _edge(a, b, c):
    """An edge as a bound of x in row y: which side (1 left, -1 right, 0 neither), and slope and base of the bound."""
    if a > 1e-14:
        return 1, -b / a, -c / a - _EDGE_SLACK
    if a < -1e-14:
        return -1, -b / a, -c / a + _EDGE_SLACK
    return 0, b, c


@_jit
def rasterise(tris, starts, ends, order, num_order, camera, focal, near, w_buffer, t_buffer, planes, sources):
    """Fills the buffers of 1/z and of seen-triangle numbers; returns how many triangles got a number.

    Written without small arrays: they would live in memory, and setting triangles up is what a small picture costs.
    """
    height, width = w_buffer.shape
    half_w = 0.5 * width
    half_h = 0.5 * height
    max_w = 1.0 / near
    px, py, pz = camera[0], camera[1], camera[2]
    rx, ry, rz = camera[3], camera[4], camera[5]
    ux, uy, uz = camera[6], camera[7], camera[8]
    fx, fy, fz = camera[9], camera[10], camera[11]
    ramp = np.arange(width).astype(np.float32)
    used = 0
    for o in range(num_order):
        d = order[o]
        for t in range(starts[d], ends[d]):
            ax = tris[t, 0] - px
            ay = tris[t, 1] - py
            az = tris[t, 2] - pz
            if tris[t, 12] == np.float32(0.0) and tris[t, 9] * ax + tris[t, 10] * ay + tris[t, 11] * az >= 0.0:
                continue
            bx = tris[t, 3] - px
            by = tris[t, 4] - py
            bz = tris[t, 5] - pz
            cx = tris[t, 6] - px
            cy = tris[t, 7] - py
            cz = tris[t, 8] - pz
            za = ax * fx + ay * fy + az * fz
            zb = bx * fx + by * fy + bz * fz
            zc = cx * fx + cy * fy + cz * fz
            if za < near and zb < near and zc < near:
                continue
            xa = focal * (ax * rx + ay * ry + az * rz) + half_w * za
            xb = focal * (bx * rx + by * ry + bz * rz) + half_w * zb
            xc = focal * (cx * rx + cy * ry + cz * rz) + half_w * zc
            if xa < 0.0 and xb < 0.0 and xc < 0.0:
                continue
            if xa > width * za and xb > width * zb and xc > width * zc:
                continue
            ya = half_h * za - focal * (ax * ux + ay * uy + az * uz)
            yb = half_h * zb - focal * (bx * ux + by * uy + bz * uz)
            yc = half_h * zc - focal * (cx * ux + cy * uy + cz * uz)
            crosses = za < near or zb < near or zc < near
            if not crosses:
                i0 = 1.0 / za
                i1 = 1.0 / zb
                i2 = 1.0 / zc
                low = min(ya * i0, yb * i1, yc * i2)
                high = max(ya * i0, yb * i1, yc * i2)
                first = min(xa * i0, xb * i1, xc * i2)
                last = max(xa * i0, xb * i1, xc * i2)
                if math.ceil(first - 0.5 - _EDGE_SLACK) > math.floor(last - 0.5 + _EDGE_SLACK):
                    continue
            else:
                low = 1e9
                high = -1e9
                for i in range(3):
                    if i == 0:
                        y_i, z_i, y_j, z_j = ya, za, yb, zb
                    elif i == 1:
                        y_i, z_i, y_j, z_j = yb, zb, yc, zc
                    else:
                        y_i, z_i, y_j, z_j = yc, zc, ya, za
                    if z_i >= near:
                        low = min(low, y_i / z_i)
                        high = max(high, y_i / z_i)
                    if (z_i >= near) != (z_j >= near):
                        v = (y_i + (near - z_i) / (z_j - z_i) * (y_j - y_i)) / near
                        low = min(low, v)
                        high = max(high, v)
            y0 = max(math.ceil(max(low, 0.0) - 0.5 - _EDGE_SLACK), 0)
            y1 = min(math.floor(min(high, height + 1.0) - 0.5 + _EDGE_SLACK) + 1, height)
            if y0 >= y1:
                continue
            a0 = yb * zc - zb * yc
            b0 = zb * xc - xb * zc
            c0 = xb * yc - yb * xc
            det = a0 * xa + b0 * ya + c0 * za
            if abs(det) < 1e-7:
                continue
            inverse = 1.0 / det
            a0 *= inverse
            b0 *= inverse
            c0 *= inverse
            a1 = (yc * za - zc * ya) * inverse
            b1 = (zc * xa - xc * za) * inverse
            c1 = (xc * ya - yc * xa) * inverse
            a2 = (ya * zb - za * yb) * inverse
            b2 = (za * xb - xa * zb) * inverse
            c2 = (xa * yb - ya * xb) * inverse
            c0 += 0.5 * (a0 + b0)
            c1 += 0.5 * (a1 + b1)
            c2 += 0.5 * (a2 + b2)
            wa = a0 + a1 + a2
            wb = b0 + b1 + b2
            wc = c0 + c1 + c2
            # An edge is a x + b y + c >= 0. Where a > 0 it bounds x from the left, where a < 0 from the right.
            left0, s0, t0 = _edge(a0, b0, c0)
            left1, s1, t1 = _edge(a1, b1, c1)
            left2, s2, t2 = _edge(a2, b2, c2)
            left3, s3, t3 = _edge(-wa, -wb, max_w - wc) if crosses else (1, 0.0, -1.0)
            number = np.int32(used)
            touched = False
            w_step = np.float32(wa)
            for y in range(y0, y1):
                v0 = s0 * y + t0
                v1 = s1 * y + t1
                v2 = s2 * y + t2
                v3 = s3 * y + t3
                left = max(
                    v0 if left0 > 0 else 0.0,
                    v1 if left1 > 0 else 0.0,
                    v2 if left2 > 0 else 0.0,
                    v3 if left3 > 0 else 0.0,
                )
                right = min(
                    v0 if left0 < 0 else width - 1.0,
                    v1 if left1 < 0 else width - 1.0,
                    v2 if left2 < 0 else width - 1.0,
                    v3 if left3 < 0 else width - 1.0,
                )
                if left > right:
                    continue
                if (
                    (left0 == 0 and v0 < -1e-12)
                    or (left1 == 0 and v1 < -1e-12)
                    or (left2 == 0 and v2 < -1e-12)
                    or (left3 == 0 and v3 < -1e-12)
                ):
                    continue
                x0 = math.ceil(left)
                x1 = math.floor(right) + 1
                if x0 >= x1:
                    continue
                w0 = np.float32(wa * x0 + wb * y + wc)
                for x in range(x0, x1):
                    w = w0 + w_step * ramp[x - x0]
                    seen = w > w_buffer[y, x]
                    w_buffer[y, x] = w if seen else w_buffer[y, x]
                    t_buffer[y, x] = number if seen else t_buffer[y, x]
                touched = True
            if touched:
                planes[used, 0] = tris[t, 13] * a0 + tris[t, 14] * a1 + tris[t, 15] * a2
                planes[used, 1] = tris[t, 13] * b0 + tris[t, 14] * b1 + tris[t, 15] * b2
                planes[used, 2] = tris[t, 13] * c0 + tris[t, 14] * c1 + tris[t, 15] * c2
                if tris[t, 28] != np.float32(0.0):
                    planes[used, 3] = tris[t, 16] * a0 + tris[t, 18] * a1 + tris[t, 20] * a2
                    planes[used, 4] = tris[t, 16] * b0 + tris[t, 18] * b1 + tris[t, 20] * b2
                    planes[used, 5] = tris[t, 16] * c0 + tris[t, 18] * c1 + tris[t, 20] * c2
                    planes[used, 6] = tris[t, 17] * a0 + tris[t, 19] * a1 + tris[t, 21] * a2
                    planes[used, 7] = tris[t, 17] * b0 + tris[t, 19] * b1 + tris[t, 21] * b2
                    planes[used, 8] = tris[t, 17] * c0 + tris[t, 19] * c1 + tris[t, 21] * c2
                sources[used, 0] = t
                sources[used, 1] = d
                used += 1
    return used


@_jit
def shade(
    tris,
    keys,
    w_buffer,
    t_buffer,
    planes,
    sources,
    atlas,
    offsets,
    side,
    focal,
    far,
    background,
    rgb,
    words,
    depth,
    ids,
    rows,
):
    """Colours, depth and keys from the seen triangles, in the rows marked in `rows`."""
    height, width = w_buffer.shape
    mask0 = np.int32(side - 1)
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
        x = 0
        while x < width:
            number = t_buffer[y, x]
            end = x + 1
            limit = min(width, x + _RUN_LENGTH)
            while end < limit and t_buffer[y, end] == number:
                end += 1
            if number < 0:
                for i in range(x, end):
                    packed[i] = sky
                    depth[y, i] = far
                    ids[y, i] = 0
                x = end
                continue
            t = sources[number, 0]
            key = keys[sources[number, 1]]
            ar = tris[t, 22]
            ag = tris[t, 23]
            ab = tris[t, 24]
            la = planes[number, 0]
            lc = planes[number, 1] * np.float32(y) + planes[number, 2]
            top = np.float32(255.0)
            if tris[t, 28] == np.float32(0.0):
                for i in range(x, end):
                    z = np.float32(1.0) / w_buffer[y, i]
                    light = max((la * ramp[i] + lc) * z, np.float32(0.0))
                    red = np.uint32(np.int32(min(ar * light, top)))
                    green = np.uint32(np.int32(min(ag * light, top)))
                    blue = np.uint32(np.int32(min(ab * light, top)))
                    packed[i] = red | (green << np.uint32(8)) | (blue << np.uint32(16))
                    depth[y, i] = z
                    ids[y, i] = key
            else:
                dr = tris[t, 25] - ar
                dg = tris[t, 26] - ag
                db = tris[t, 27] - ab
                texture = np.int32(tris[t, 28])
                middle = (x + end) >> 1
                footprint = tris[t, 29] * np.float32(side) / (w_buffer[y, middle] * np.float32(focal))
                level = 0
                while footprint > np.float32(1.3) and level < 6:
                    footprint *= np.float32(0.5)
                    level += 1
                shift = np.int32(7 - level)
                mask = mask0 >> np.int32(level)
                offset = np.int32(offsets[level])
                size = np.float32(side >> level)
                ua = planes[number, 3] * size
                uc = (planes[number, 4] * np.float32(y) + planes[number, 5]) * size
                va = planes[number, 6] * size
                vc = (planes[number, 7] * np.float32(y) + planes[number, 8]) * size
                # In steps, so that all but the fetching loop become vector code.
                for i in range(x, end):
                    z = np.float32(1.0) / w_buffer[y, i]
                    depth[y, i] = z
                    u = np.int32((ua * ramp[i] + uc) * z) & mask
                    v = np.int32((va * ramp[i] + vc) * z) & mask
                    index[i] = offset + np.int32(v << shift) + u
                for i in range(x, end):
                    mixes[i] = atlas[texture, index[i]]
                for i in range(x, end):
                    light = max((la * ramp[i] + lc) * depth[y, i], np.float32(0.0))
                    mix = mixes[i]
                    red = np.uint32(np.int32(min((ar + dr * mix) * light, top)))
                    green = np.uint32(np.int32(min((ag + dg * mix) * light, top)))
                    blue = np.uint32(np.int32(min((ab + db * mix) * light, top)))
                    packed[i] = red | (green << np.uint32(8)) | (blue << np.uint32(16))
                    ids[y, i] = key
            x = end
        if words.shape[0] > 0:
            word_row = words[y]
            for k in range(width >> 2):
                c0 = packed[4 * k]
                c1 = packed[4 * k + 1]
                c2 = packed[4 * k + 2]
                c3 = packed[4 * k + 3]
                word_row[3 * k] = c0 | (c1 << np.uint32(24))
                word_row[3 * k + 1] = (c1 >> np.uint32(8)) | (c2 << np.uint32(16))
                word_row[3 * k + 2] = (c2 >> np.uint32(16)) | (c3 << np.uint32(8))
        else:
            rgb_row = rgb[y]
            for i in range(width):
                colour = packed[i]
                rgb_row[i, 0] = np.uint8(colour)
                rgb_row[i, 1] = np.uint8(colour >> np.uint32(8))
                rgb_row[i, 2] = np.uint8(colour >> np.uint32(16))


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
