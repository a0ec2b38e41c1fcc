"""What the model file of `tests.graphs.dimming` says of itself."""

DIM = {
    "format": 1,
    "architecture": "dimming",
    "options": {},
    "stride": 4,
    "styles": ["bright", "dark"],
    "style_size": 2,
    "description": "",
    "licence": "",
    "provenance": {},
}
