"""Power in the log: the tables, and how a measurement gets into them and out.

Times `…_s` are seconds since the recording began (a row of `power`, at most one a run), by the
instrument's clock. What has no value is NULL.

    power         one recording: instrument; started (UTC); seconds, samples and rate_hz of it;
                  lost and repeated samples; joules of all of it; trace: the .npz file, by its name
                  beside the log; aligned: how phases were laid over the samples ('pin', 'clock', or
                  'none'); uncertainty_s: of a mark's time then; note: what a reader must know;
                  curve: float32 (k, 3), least, mean, most watts of k equal parts of the time
    power_gap     what was not measured: kind 'lost' (samples, by the instrument's count),
                  'repeated' (dropped again), 'marks' (edges of a pin), 'unplugged' (to the end)
    power_phase   energy and time by phase ('receive', 'forward', …): times it came, seconds,
                  joules and joules_above_idle of all of them together
    power_closeup a few steps as they were measured: samples float32 (k, 2), seconds and watts;
                  phases: JSON [[begin_s, end_s, 'forward'], …]
    power_window  a window in MLPerf Tiny's manner: what it holds ('sample', learned with all its
                  steps, or 'inference'), times: how many of them, begin_s, seconds, joules
    energy        the result: joules of one `what` ('step', 'sample' with all its steps,
                  'inference'), joules_above_idle; kind 'measured' or 'estimate'; how: windows or
                  formula, in words
    phase_frame   marks of the board as they came, of one record each: heard_s
                  (time.monotonic()), us (the board's clock when it sent them, wraps at 2^32), lost
                  (phases that it had no room for), marks: 5 bytes each, phase u8 and us u32,
                  little-endian; a phase lasts until the next begins
"""

POWER = """
CREATE TABLE IF NOT EXISTS power (
    run INTEGER PRIMARY KEY REFERENCES run ON DELETE CASCADE, instrument TEXT NOT NULL,
    started TEXT NOT NULL, seconds REAL NOT NULL, samples INTEGER NOT NULL, rate_hz REAL NOT NULL,
    lost INTEGER NOT NULL, repeated INTEGER NOT NULL, joules REAL NOT NULL, trace TEXT,
    aligned TEXT NOT NULL CHECK (aligned IN ('pin', 'clock', 'none')), uncertainty_s REAL,
    note TEXT NOT NULL, curve BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS power_gap (
    n INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
    at_s REAL NOT NULL, seconds REAL NOT NULL, samples INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('lost', 'repeated', 'marks', 'unplugged')),
    text TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS power_gap_run ON power_gap (run);
CREATE TABLE IF NOT EXISTS power_phase (
    n INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
    phase TEXT NOT NULL, times INTEGER NOT NULL, seconds REAL NOT NULL, joules REAL NOT NULL,
    joules_above_idle REAL);
CREATE INDEX IF NOT EXISTS power_phase_run ON power_phase (run);
CREATE TABLE IF NOT EXISTS power_closeup (
    run INTEGER PRIMARY KEY REFERENCES run ON DELETE CASCADE, samples BLOB NOT NULL,
    phases TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS power_window (
    n INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
    what TEXT NOT NULL CHECK (what IN ('sample', 'inference')), times INTEGER NOT NULL,
    begin_s REAL NOT NULL, seconds REAL NOT NULL, joules REAL NOT NULL);
CREATE INDEX IF NOT EXISTS power_window_run ON power_window (run);
CREATE TABLE IF NOT EXISTS energy (
    n INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
    what TEXT NOT NULL CHECK (what IN ('step', 'sample', 'inference')), joules REAL NOT NULL,
    joules_above_idle REAL, kind TEXT NOT NULL CHECK (kind IN ('measured', 'estimate')),
    how TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS energy_run ON energy (run);
CREATE TABLE IF NOT EXISTS phase_frame (
    n INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
    heard_s REAL NOT NULL, us INTEGER NOT NULL, lost INTEGER NOT NULL, marks BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS phase_frame_run ON phase_frame (run);
"""

ADD_POWER = "INSERT INTO power VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
ADD_GAP = """INSERT INTO power_gap (run, at_s, seconds, samples, kind, text)
             VALUES (?, ?, ?, ?, ?, ?)"""
ADD_PHASE = """INSERT INTO power_phase (run, phase, times, seconds, joules, joules_above_idle)
               VALUES (?, ?, ?, ?, ?, ?)"""
ADD_CLOSEUP = "INSERT INTO power_closeup VALUES (?, ?, ?)"
ADD_WINDOW = """INSERT INTO power_window (run, what, times, begin_s, seconds, joules)
                VALUES (?, ?, ?, ?, ?, ?)"""
ADD_ENERGY = """INSERT INTO energy (run, what, joules, joules_above_idle, kind, how)
                VALUES (?, ?, ?, ?, ?, ?)"""
ADD_FRAME = "INSERT INTO phase_frame (run, heard_s, us, lost, marks) VALUES (?, ?, ?, ?, ?)"
ENERGY = """SELECT what, joules, joules_above_idle, kind, how FROM energy WHERE run = ?
            ORDER BY n"""
