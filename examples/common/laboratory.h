// A laboratory is a program that measures claims: it runs its experiments (result.h) over seeds, judges them
// (verdict.h), and writes figures, findings and pages (report.h). Its main function is a Study and a call of
// laboratory().
#pragma once

#include "examples/common/report.h"

namespace examples {

// The program's main function; returns its exit status.
//   NAME --list                 names the experiments
//   NAME EXPERIMENT --out DIR   measures one, or several, or `all`: DIR/EXPERIMENT.svg, .csv, .json and DIR/report.html
//   NAME all --resume           goes on where such a run was stopped
int laboratory(const Study& study, int argc, char** argv);

}  // namespace examples
