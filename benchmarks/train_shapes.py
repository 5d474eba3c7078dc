"""The shapes at which `retort bench train` and its peers are compared: a frozen teacher and the student that it teaches."""
import dataclasses


@dataclasses.dataclass(frozen=True)
class Decoder:
    """A Llama-like decoder; `tied` says that the head is the embedding."""

    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    layers: int
    vocabulary: int
    rope_theta: float
    tied: bool


@dataclasses.dataclass(frozen=True)
class Shape:
    """`length` is that of a packed row, and of the longest document; `spread` is of random weights."""

    teacher: Decoder
    student: Decoder
    shortest: int
    length: int
    spread: float

    def with_layers(self, layers):
        """The same with a student of so many layers; None changes nothing."""
        return dataclasses.replace(self, student=dataclasses.replace(self.student, layers=layers or self.student.layers))


_SMOLLM2_135M = Decoder(hidden=576, heads=9, kv_heads=3, head_dim=64, intermediate=1536, layers=30, vocabulary=49152,
                        rope_theta=100000.0, tied=True)
_LLAMA_8B = Decoder(hidden=4096, heads=32, kv_heads=8, head_dim=128, intermediate=14336, layers=32, vocabulary=128256,
                    rope_theta=500000.0, tied=False)
_LLAMA_1B = Decoder(hidden=2048, heads=32, kv_heads=8, head_dim=64, intermediate=8192, layers=16, vocabulary=128256,
                    rope_theta=500000.0, tied=True)

SHAPES = {
    "135m": Shape(_SMOLLM2_135M, dataclasses.replace(_SMOLLM2_135M, layers=10), shortest=64, length=256, spread=0.04),
    "8b": Shape(_LLAMA_8B, _LLAMA_1B, shortest=512, length=2048, spread=0.02),
}
