from wage_host.errors import ModelError
def read(path): raise ModelError("not yet")
