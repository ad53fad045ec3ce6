// The console's only script. Without it every page works; with it less is loaded anew.
"use strict";
