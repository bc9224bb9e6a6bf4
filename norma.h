// Everything a program needs: #include <norma/norma.h>
#pragma once

#include "norma/autograd/gradcheck.h"
#include "norma/autograd/op.h"
#include "norma/autograd/tape.h"
#include "norma/core/memory.h"
#include "norma/core/parallel.h"
#include "norma/core/random.h"
#include "norma/core/serialize.h"
#include "norma/core/tensor.h"
#include "norma/ops/binary.h"
#include "norma/ops/cast.h"
#include "norma/ops/concat.h"
#include "norma/ops/index.h"
#include "norma/ops/reduce.h"
#include "norma/ops/unary.h"
#include "norma/ops/views.h"
#include "norma/ops/where.h"
