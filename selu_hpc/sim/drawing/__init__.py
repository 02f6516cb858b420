"""From drawables and a camera to pixels; for both simulators, and without their state or rules."""
