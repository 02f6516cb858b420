"""From drawables and a camera to pixels; knows neither simulator."""
