"""Silver → Gold."""
class Gold:
    def __init__(self, spark, settings, metrics): pass
    def take_position(self): pass
    def step(self): return False
