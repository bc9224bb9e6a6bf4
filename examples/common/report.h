// What is made of findings: a page to look at, and the generated parts of a page that somebody wrote.
#pragma once

#include "examples/common/result.h"

namespace examples {

// What a laboratory is about.
struct Study {
  std::string name;          // of the program, and of the marks and the pictures of its page
  std::string description;   // one sentence, for --help
  std::string title, about;  // of its report, in HTML; about: without the full stop, since the data are named behind it
  std::vector<const Experiment*> experiments;  // in this order
};

// Where and how the findings were made.
struct Session {
  const Study& study;
  std::string out;   // the folder with NAME.svg and NAME.csv
  std::string data;  // where the pictures are from
  std::function<std::string(const std::string& names)> command;
};

// One HTML page that needs nothing else: figures are part of it. To be read on a phone, too.
std::string html_report(const std::vector<Finding>& findings, const Session& session);

// Puts tables, verdicts and figures between the marks of a Markdown page,
//   <!-- STUDY NAME -->  ...  <!-- end -->
// for each finding, and for NAME `summary` an overview of all. Figures are copied to pictures/STUDY/ beside the page.
// Errors: the page has no mark for a finding, or one without an end; nothing has been written then.
void fill_markdown(const std::string& page, const std::vector<Finding>& findings, const Session& session);

// Throws if the page cannot be read, or has no marks for one of these or for the overview.
void check_markdown(const std::string& page, const Study& study, const std::vector<const Experiment*>& experiments);

}  // namespace examples
