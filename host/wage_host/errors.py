"""What can go wrong, in the user's words: one line, one exit code for each kind."""

from pathlib import Path

# What to do about an error of the runtime (enum wage_err), by name.
REMEDY = {
    "WAGE_E_SHORT": "the model file is cut off: copy or convert it again",
    "WAGE_E_MAGIC": "this is not a .wage model: make one with 'wage-host convert'",
    "WAGE_E_VERSION": "the model has another format version: convert it again with this version",
    "WAGE_E_LENGTH": "bytes follow the end of the model: copy or convert it again",
    "WAGE_E_CRC": "the model file is damaged: copy or convert it again",
    "WAGE_E_RESERVED": "the model uses a feature this version does not know: update wage-host",
    "WAGE_E_LAYERS": "a model needs 1 to 32 layers, the last one trainable, frozen ones first",
    "WAGE_E_KIND": "the model has a layer kind this version does not know: update wage-host",
    "WAGE_E_BITS": "weights have 2 to 8 bits, stored ones up to 16: convert the model again",
    "WAGE_E_SHAPE": "the sizes of the model's layers do not fit together: convert it again",
    "WAGE_E_LIMIT": "a layer is too large for 32-bit sums or for memory: make it, or the batch, "
    "smaller",
    "WAGE_E_RANGE": "the model points outside itself: convert it again",
    "WAGE_E_WEIGHT": "a weight of the model is outside its range: convert it again",
    "WAGE_E_REPLAY": "the model's replay samples do not fit its replay: convert it again",
    "WAGE_E_CONFIG": "a setting is outside its range: lr 2^-24 to 15*2^7, gain-shift 0..7, "
    "replays 0..255, threshold 0..127, seed 0..4294967295",
    "WAGE_E_ARENA": "the board has too little memory for the model: convert it with a smaller "
    "--replay, or train fewer layers",
    "WAGE_E_ALIGN": "the arena must begin on an 8-byte boundary: align it",
    "WAGE_E_COBS": "a frame was garbled: check cable and baud rate",
    "WAGE_E_FRAME_SHORT": "a frame was cut off: check cable and baud rate",
    "WAGE_E_FRAME_LONG": "a frame was too long for the receiver: check cable and baud rate",
    "WAGE_E_FRAME_CRC": "a frame was damaged: check cable and baud rate",
    "WAGE_E_TYPE": "the board's firmware does not know this request: update the firmware",
    "WAGE_E_PAYLOAD": "the board's firmware wants more fields: update wage-host",
    "WAGE_E_SESSION": "another host has taken over the board: close the other program",
    "WAGE_E_PROTOCOL": "board and host share no protocol version: update the older one",
    "WAGE_E_MODEL": "the board has no usable model: flash or push one, or give up a push with "
    "'wage-host reset'",
    "WAGE_E_STREAM": "no stream was begun: start again",
    "WAGE_E_ORDER": "the samples came out of order: start again",
    "WAGE_E_LABEL": "the label is not a class of the model: check the labels of the data",
    "WAGE_E_INPUT": "the input has another size than the model's: check the data",
    "WAGE_E_STORE": "the board has no store: what it learns lasts until power-off",
    "WAGE_E_STORE_SIZE": "the board's store is too small for two checkpoints of this model: "
    "convert it with a smaller --replay",
    "WAGE_E_STORE_IO": "the board's store failed: the last checkpoint is still whole; "
    "try again, or check the flash",
    "WAGE_E_NO_CHECKPOINT": "the board's store holds no checkpoint of this model: save first",
    "WAGE_E_BATCH": "no sample, or more at once than the model's batch: give fewer",
    "WAGE_E_AUTH": "the request was not from who has the board's key",
    "WAGE_E_GUARD": "the guard in the board's store is damaged: give it again with --guard",
    "WAGE_E_POLICY": "the model's policy has no trainable biases, or its last layer no class "
    "means: convert it again",
    "WAGE_E_NAME": "the model keeps no table of its classes, or a name is longer than 15 bytes: "
    "convert it with --class-table, or choose a shorter name",
}


def short(name: str) -> str:
    """WAGE_E_CRC as people read it: crc."""
    return name.removeprefix("WAGE_E_").lower()


class WageError(Exception):
    """One line for the user, and the exit code of its kind."""

    exit_code = 1


class WrongUsage(WageError):
    """The command line asks for what does not exist."""

    exit_code = 2


class PortNotFound(WageError):
    """There is no such port."""

    exit_code = 3


class PortBusy(WageError):
    """Another program holds the port, or it is not ours to open."""

    exit_code = 4


class NoAnswer(WageError):
    """The port is there, but no board answers."""

    exit_code = 5


class ProtocolMismatch(WageError):
    """No protocol version in common."""

    exit_code = 6


class OtherModel(WageError):
    """The board holds another model than the one named."""

    exit_code = 7


class DataError(WageError):
    """A data file cannot be read."""

    exit_code = 8


class LabelError(WageError):
    """A label is not a class of the model."""

    exit_code = 9


class ShapeError(WageError):
    """The samples have another shape than the model's input."""

    exit_code = 10


class ArenaError(WageError):
    """The board has too little memory for the model."""

    exit_code = 11


class Refused(WageError):
    """The board or the runtime refused, for the reason `name` (an enum wage_err)."""

    exit_code = 12

    def __init__(self, name: str, text: str | None = None, a: int = 0, b: int = 0):
        super().__init__(text or f"refused ({short(name)}): {REMEDY[name]}")
        self.name, self.a, self.b = name, a, b


class ToolMissing(WageError):
    """A program that this command needs is not installed."""

    exit_code = 13

    def __init__(self, name: str, how_to_get: str):
        super().__init__(f"{name} is not installed: {how_to_get}")


class BuildFailed(WageError):
    """The firmware could not be built."""

    exit_code = 14

    def __init__(self, text: str, log_path: Path):
        super().__init__(f"{text} (everything is in {log_path})")


class ModelError(WageError):
    """A model file cannot be used."""

    exit_code = 15


class NoStore(WageError):
    """The board cannot save."""

    exit_code = 16


class LogError(WageError):
    """The log of runs cannot be used."""

    exit_code = 17


class TwinDiffers(WageError):
    """Board and host did not compute the same bits."""

    exit_code = 18


class FileError(WageError):
    """A file or folder cannot be written."""

    exit_code = 19


class CheckpointError(WageError):
    """A training run cannot go on from a checkpoint."""

    exit_code = 20


class KeyUnusable(WageError):
    """A key file holds no key, or one that can be guessed."""

    exit_code = 21


class KeyWanted(WageError):
    """Board and host do not have the same key."""

    exit_code = 22


class UploadFailed(WageError):
    """The image did not get onto the board."""

    exit_code = 23


class LayerDiffers(WageError):
    """A layer does not compute the same integers everywhere."""

    exit_code = 24


class InstrumentError(WageError):
    """A power instrument, or what it measured, cannot be used."""

    exit_code = 25


class Interrupted(WageError):
    """The user pressed Ctrl-C."""

    exit_code = 130
