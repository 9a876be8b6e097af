// Shows the parcel that the address names: track.html#ABC123.
const state = document.getElementById("state");

function show() {
  const code = decodeURIComponent(window.location.hash.slice(1));
  state.innerHTML = "Parcel <b>" + code + "</b>";
}

window.addEventListener("hashchange", show);
show();
