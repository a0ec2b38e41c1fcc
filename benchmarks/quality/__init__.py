"""How good the paintings are: `python -m benchmarks quality`, one kind of figure a file.

`command` reads the arguments, `entries` says which nets are measured, `judge`, `frontier`, `noise`,
`warping`, `davis`, `faces`, `synthetic_flow`, `clips`, `costs` and `training` make the figures,
`measure` gathers them, `remembered` and `report` keep them, `tables` and `sheets` show them.
"""
