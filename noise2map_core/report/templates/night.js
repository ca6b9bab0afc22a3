sortable(document.getElementById("areas"), document.getElementById("areas-download"), "areas.csv");
