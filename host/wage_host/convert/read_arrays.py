from wage_host.errors import ModelError
def read(path,d,t): raise ModelError("not yet")
