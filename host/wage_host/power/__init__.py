"""What a board draws: instruments, marks of its phases, energy, and estimates without one.

    instrument.py   what an instrument is, how one is found: INSTRUMENT[:PORT]
    ppk2 lpm joulescope otii csvlines replay        one instrument each
    recorder.py     an instrument in a thread beside a run
    trace.py        what was recorded, a .npz file beside the log
    clocks.py       the board's clock, the computer's and the instrument's, laid over one another
    phases.py       which phase the board was in when, by pin or by clock
    energy.py       energy of phases, windows, inferences, steps
    estimate.py     energy where nothing measures it, from data sheets
    tables.py       all of it in the log
"""
