# Compiles to WebAssembly with Debian's emscripten (3.1.6) and node-acorn, and runs programs by node. Debian keeps node's
# modules where emscripten looks for them only if told: NODE_PATH=/usr/share/nodejs in the environment (the preset sets it).
set(CMAKE_CROSSCOMPILING_EMULATOR node --no-experimental-fetch CACHE STRING "")
include(/usr/share/emscripten/cmake/Modules/Platform/Emscripten.cmake)
# Vectors of 16 bytes; exceptions, which its libraries are compiled with but its compiler leaves out unless asked; and what
# its standard library lacks.
set(CMAKE_CXX_FLAGS_INIT "-msimd128 -fexceptions -Wno-align-mismatch -include ${CMAKE_CURRENT_LIST_DIR}/wasm_std20.inc")
# Programs under node read and write this machine's files, as their tests do.
set(CMAKE_EXE_LINKER_FLAGS_INIT "-fexceptions -sALLOW_MEMORY_GROWTH=1 -sNODERAWFS=1 -sEXIT_RUNTIME=1 -sTOTAL_STACK=1MB")
