"""Whether anything is lost: damage, kills, many machines, long runs, faults."""
