"""`kombu.compression`: registering compression methods."""

from celeriac.compression import (
    compress,
    decompress,
    encoders,
    get_decoder,
    get_encoder,
    register,
)

__all__ = ["compress", "decompress", "encoders", "get_decoder", "get_encoder", "register"]
