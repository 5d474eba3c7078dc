// Exists so that the precompiled header of libtorch has a target to belong to.
